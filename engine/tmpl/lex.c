/* lex.c - see lex.h. The rule for a bare `>` is in gt.c. */
#include "tmpl/lex.h"

#include "tmpl/gt.h"

const char *hm_tok_text(enum hm_tok_kind k)
{
	static const char *const text[] = {
#define HM_TOK(name, t) [T_##name] = t,
#include "tmpl/tokens.h"
#undef HM_TOK
	};

	return text[k];
}

/* -- places -------------------------------------------------------------------- */

bool hm_src_init(struct hm_src *s, struct hm_arena *a, struct hm_str text, struct hm_str name)
{
	size_t i, n = 1;

	*s = (struct hm_src){.text = text, .name = name};
	for (i = 0; i < text.len; i++)
		if (text.p[i] == '\n' || (text.p[i] == '\r' && !(i + 1 < text.len && text.p[i + 1] == '\n')))
			n++;
	s->line_start = hm_arena_alloc(a, n * sizeof(*s->line_start));
	if (!s->line_start)
		return false;
	s->line_start[s->nlines++] = 0;
	for (i = 0; i < text.len; i++)
		if (text.p[i] == '\n' || (text.p[i] == '\r' && !(i + 1 < text.len && text.p[i + 1] == '\n')))
			s->line_start[s->nlines++] = (uint32_t)i + 1;
	return true;
}

int hm_src_line(const struct hm_src *s, size_t pos)
{
	uint32_t lo = 0, hi = s->nlines;

	while (s->outer) {
		pos = s->outer_pos;
		s = s->outer;
		hi = s->nlines;
	}
	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (s->line_start[mid] <= pos)
			lo = mid;
		else
			hi = mid;
	}
	return (int)lo + 1;
}

int hm_src_col(const struct hm_src *s, size_t pos)
{
	size_t start;
	int line = hm_src_line(s, pos);

	while (s->outer) {
		pos = s->outer_pos;
		s = s->outer;
	}
	start = s->line_start[line - 1];
	pos = hm_min(pos, s->text.len);
	return (int)hm_utf8_codepoints(hm_str_n(s->text.p + start, pos - start)) + 1;
}

static int lex_error(const struct hm_src *s, size_t pos, struct hm_err *e, const char *text)
{
	return hm_err_at(e, HM_EPARSE, NULL, hm_src_line(s, pos), hm_src_col(s, pos), "%s", text);
}

/* -- characters ---------------------------------------------------------------- */

bool hm_lex_is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool hm_lex_id_start(uint32_t cp)
{
	static const struct {
		uint16_t first, last;
	} range[] = {
#define HM_IDCHARS(a, b) {a, b},
#include "tmpl/idchars.h"
#undef HM_IDCHARS
	};
	size_t lo = 0, hi = hm_countof(range);

	if (cp < 0x80)
		return (cp >= 'a' && cp <= 'z') || (cp >= '@' && cp <= 'Z') || cp == '_' || cp == '$';
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (cp < range[mid].first)
			hi = mid;
		else if (cp > range[mid].last)
			lo = mid + 1;
		else
			return true;
	}
	return false;
}

/* Length of the name part at p: a character of a name (or, if `digit`, a digit), escaped ones included; 0: none. */
static size_t id_char(struct hm_str rest, bool digit)
{
	size_t n;

	if (rest.len == 0)
		return 0;
	if (digit && rest.p[0] >= '0' && rest.p[0] <= '9')
		return 1;
	if (rest.p[0] == '\\')
		return rest.len > 1 && memchr("-.:#", rest.p[1], 4) ? 2 : 0;
	if (!hm_lex_id_start(hm_utf8_decode(rest, &n)))
		return 0;
	return n;
}

struct hm_str hm_lex_name(struct hm_arena *a, struct hm_str image)
{
	char *p;
	size_t i, n = 0;

	if (hm_str_chr(image, '\\') < 0)
		return image;
	p = hm_arena_alloc(a, image.len);
	if (!p)
		return HM_STR_NULL;
	for (i = 0; i < image.len; i++)
		if (image.p[i] != '\\')
			p[n++] = image.p[i];
	return hm_str_n(p, n);
}

/* -- string literals ------------------------------------------------------------ */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Length of the literal starting at the quote; 0 when it is not closed or has a bad escape. */
static size_t string_length(struct hm_str rest, bool raw)
{
	char quote = rest.p[0];
	size_t i;

	for (i = 1; i < rest.len; i++) {
		char c = rest.p[i];

		if (c == quote)
			return i + 1;
		if (c != '\\' || raw)
			continue;
		i++;
		if (i >= rest.len)
			return 0;
		if (rest.p[i] == 'x') {
			if (i + 1 >= rest.len || hex_digit(rest.p[i + 1]) < 0)
				return 0;
		} else if (!memchr("ntrfbgla\\'\"{=", rest.p[i], 13)) {
			return 0;
		}
	}
	return 0;
}

struct hm_str hm_lex_unquote(struct hm_arena *a, struct hm_str image, bool raw)
{
	struct hm_str in = raw ? hm_str_n(image.p + 2, image.len - 3) : hm_str_n(image.p + 1, image.len - 2);
	char *out;
	size_t i, n = 0;
	uint32_t high = 0; /* first half of a surrogate pair written as \xD83D\xDE00 */

	if (raw || hm_str_chr(in, '\\') < 0)
		return in;
	out = hm_arena_alloc(a, in.len * 3 + 1);
	if (!out)
		return HM_STR_NULL;
	for (i = 0; i < in.len; i++) {
		uint32_t cp = 0;
		int digits = 0;

		if (in.p[i] != '\\') {
			out[n++] = in.p[i];
			high = 0;
			continue;
		}
		i++;
		switch (in.p[i]) {
		case 'n': out[n++] = '\n'; break;
		case 't': out[n++] = '\t'; break;
		case 'r': out[n++] = '\r'; break;
		case 'f': out[n++] = '\f'; break;
		case 'b': out[n++] = '\b'; break;
		case 'g': out[n++] = '>'; break;
		case 'l': out[n++] = '<'; break;
		case 'a': out[n++] = '&'; break;
		case 'x':
			while (digits < 4 && i + 1 < in.len && hex_digit(in.p[i + 1]) >= 0) {
				cp = cp * 16 + (uint32_t)hex_digit(in.p[++i]);
				digits++;
			}
			if (cp >= 0xDC00 && cp <= 0xDFFF && high) {
				n -= 3; /* the half alone was written as U+FFFD */
				cp = 0x10000 + ((high - 0xD800) << 10) + (cp - 0xDC00);
				high = 0;
			} else {
				high = cp >= 0xD800 && cp <= 0xDBFF ? cp : 0;
				if (cp >= 0xD800 && cp <= 0xDFFF)
					cp = 0xFFFD;
			}
			n += hm_utf8_encode(cp, out + n);
			continue;
		default: out[n++] = in.p[i];
		}
		high = 0;
	}
	return hm_str_n(out, n);
}

/* -- expressions ----------------------------------------------------------------- */

struct lexer {
	const struct hm_src *s;
	struct hm_arena *a;
	enum hm_lex_mode mode;
	size_t pos;
	struct hm_tok *tok;
	uint32_t n, cap;
	int paren, bracket, brace;
	bool named;	 /* in the named arguments of a call */
	bool await_ws;	 /* callee of <@: white space is a token */
	struct hm_gt gt; /* left side of a possible `>` */
};

static struct hm_str rest_of(const struct lexer *lx)
{
	return hm_str_n(lx->s->text.p + lx->pos, lx->s->text.len - lx->pos);
}

static bool add(struct lexer *lx, enum hm_tok_kind kind, size_t len, bool gap)
{
	if (lx->n == lx->cap) {
		uint32_t cap = lx->cap ? lx->cap * 2 : 16;
		struct hm_tok *t = hm_arena_grow(lx->a, lx->tok, lx->cap * sizeof(*t), cap * sizeof(*t));

		if (!t)
			return false;
		lx->tok = t;
		lx->cap = cap;
	}
	lx->tok[lx->n++] = (struct hm_tok){.kind = (uint8_t)kind,
					   .gap = gap,
					   .pos = (uint32_t)lx->pos,
					   .end = (uint32_t)(lx->pos + len)};
	lx->pos += len;
	return true;
}

/* Skips blanks and comments; false when a comment is not closed. *gap: something was skipped. */
static bool skip_blanks(struct lexer *lx, bool *gap)
{
	struct hm_str t = lx->s->text;

	*gap = false;
	for (;;) {
		if (lx->pos < t.len && hm_lex_is_blank(t.p[lx->pos])) {
			lx->pos++;
			*gap = true;
			continue;
		}
		if (t.len - lx->pos >= 4 && (t.p[lx->pos] == '<' || t.p[lx->pos] == '[') &&
		    (t.p[lx->pos + 1] == '#' || t.p[lx->pos + 1] == '!') && t.p[lx->pos + 2] == '-' &&
		    t.p[lx->pos + 3] == '-') {
			size_t i = lx->pos + 4;

			while (i + 3 <= t.len && !(t.p[i] == '-' && t.p[i + 1] == '-' &&
						   (t.p[i + 2] == '>' || t.p[i + 2] == ']')))
				i++;
			if (i + 3 > t.len)
				return false;
			lx->pos = i + 3;
			*gap = true;
			continue;
		}
		return true;
	}
}

struct fixed {
	const char *text;
	uint8_t len, kind;
};
#define F(text, kind)                            \
	{                                        \
		text, sizeof(text) - 1, T_##kind \
	}

/* Longest first where one begins another. `>` and `/>` are handled apart. */
static const struct fixed fixed[] = {
	F("&amp;&amp;", AND),
	F("&lt;=", LTE),
	F("&gt;=", GTE),
	F("-&gt;", ARROW),
	F("&lt;", LT),
	F("&gt;", GT),
	F("\\lte", LTE),
	F("\\gte", GTE),
	F("\\and", AND),
	F("\\lt", LT),
	F("\\gt", GT),
	F("...", ELLIPSIS),
	F("..<", DOT_DOT_LESS),
	F("..!", DOT_DOT_LESS),
	F("..*", DOT_DOT_STAR),
	F("..", DOT_DOT),
	F(".", DOT),
	F("??", EXISTS),
	F("?", BUILT_IN),
	F("==", DOUBLE_EQUALS),
	F("=", EQUALS),
	F("!=", NOT_EQUALS),
	F("!", EXCLAM),
	F("+=", PLUS_EQUALS),
	F("++", PLUS_PLUS),
	F("+", PLUS),
	F("->", ARROW),
	F("-=", MINUS_EQUALS),
	F("--", MINUS_MINUS),
	F("-", MINUS),
	F("**", DOUBLE_STAR),
	F("*=", TIMES_EQUALS),
	F("*", TIMES),
	F("/=", DIV_EQUALS),
	F("/", DIVIDE),
	F("%=", MOD_EQUALS),
	F("%", PERCENT),
	F("<=", LTE),
	F("<", LT),
	F("&&", AND),
	F("&", AND),
	F("||", OR),
	F("|", OR),
	F(",", COMMA),
	F(";", SEMICOLON),
	F(":", COLON),
	F("[", OPEN_BRACKET),
	F("]", CLOSE_BRACKET),
	F("(", OPEN_PAREN),
	F(")", CLOSE_PAREN),
	F("{", OPEN_BRACE),
	F("}", CLOSE_BRACE),
};

static const struct fixed words[] = {
	F("true", TRUE), F("false", FALSE), F("as", AS), F("in", IN),	F("using", USING),
	F("lt", LT),	 F("lte", LTE),	    F("gt", GT), F("gte", GTE),
};
#undef F

/* `>` `>=` `/>`: the end of the tag or an operator? */
static int lex_gt(struct lexer *lx, bool gap, bool *done)
{
	struct hm_str r = rest_of(lx);
	bool ge = r.len > 1 && r.p[1] == '=';
	bool inside = lx->paren > 0 || (lx->mode == LEX_IF && (lx->bracket > 0 || lx->brace > 0));
	bool ok;

	*done = false;
	if (inside) {
		ok = add(lx, ge ? T_GTE : T_GT, ge ? 2 : 1, gap);
	} else if (lx->mode == LEX_INTERP) {
		ok = add(lx, T_GT, 1, gap);
	} else if (lx->mode == LEX_IF && hm_gt_is_operator(&lx->gt, lx->s->text, lx->pos, ge ? 2 : 1)) {
		ok = add(lx, ge ? T_GTE : T_GT, ge ? 2 : 1, gap);
	} else {
		ok = add(lx, T_END, 1, gap);
		*done = true;
	}
	return ok ? 0 : HM_ENOMEM;
}

static int lex_one(struct lexer *lx, bool gap, bool *done, struct hm_err *e)
{
	struct hm_str r = rest_of(lx);
	size_t n, i;
	char c;

	*done = false;
	if (r.len == 0)
		return lex_error(lx->s, lx->n ? lx->tok[0].pos : lx->pos, e,
				 lx->mode == LEX_INTERP ? "the ${ is not closed with }"
							: "the tag is not closed with >");
	c = r.p[0];
	if (c == '>') {
		int rc = lex_gt(lx, gap, done);

		return rc ? hm_err_set(e, rc, "out of memory while compiling") : 0;
	}
	if (c == '/' && r.len > 1 && r.p[1] == '>' && lx->paren == 0 && lx->mode != LEX_INTERP) {
		*done = true;
		return add(lx, T_EMPTY_END, 2, gap)
			       ? 0
			       : hm_err_set(e, HM_ENOMEM, "out of memory while compiling");
	}
	if (c == '"' || c == '\'' || (c == 'r' && r.len > 1 && (r.p[1] == '"' || r.p[1] == '\''))) {
		bool raw = c == 'r';

		n = string_length(hm_str_n(r.p + raw, r.len - raw), raw);
		if (n == 0)
			return lex_error(lx->s, lx->pos, e,
					 "the string is not closed, or has an unknown \\ escape");
		return add(lx, raw ? T_RAW_STRING : T_STRING, n + raw, gap)
			       ? 0
			       : hm_err_set(e, HM_ENOMEM, "out of memory while compiling");
	}
	if (c >= '0' && c <= '9') {
		enum hm_tok_kind k = T_INTEGER;

		for (n = 1; n < r.len && r.p[n] >= '0' && r.p[n] <= '9'; n++)
			;
		if (n + 1 < r.len && r.p[n] == '.' && r.p[n + 1] >= '0' && r.p[n + 1] <= '9') {
			k = T_DECIMAL;
			for (n += 2; n < r.len && r.p[n] >= '0' && r.p[n] <= '9'; n++)
				;
		}
		return add(lx, k, n, gap) ? 0 : hm_err_set(e, HM_ENOMEM, "out of memory while compiling");
	}
	if ((c == '$' || c == '#') && r.len > 1 && r.p[1] == '{')
		return lex_error(lx->s, lx->pos, e,
				 "${ cannot be used inside an expression; write the name alone");
	n = 0;
	while ((i = id_char(hm_str_n(r.p + n, r.len - n), n > 0)) > 0)
		n += i;
	if (n > 0) {
		enum hm_tok_kind k = T_ID;

		for (i = 0; i < hm_countof(words); i++)
			if (words[i].len == n && memcmp(words[i].text, r.p, n) == 0)
				k = words[i].kind;
		return add(lx, k, n, gap) ? 0 : hm_err_set(e, HM_ENOMEM, "out of memory while compiling");
	}
	for (i = 0; i < hm_countof(fixed); i++)
		if (fixed[i].len <= r.len && memcmp(fixed[i].text, r.p, fixed[i].len) == 0)
			break;
	if (i == hm_countof(fixed))
		return lex_error(lx->s, lx->pos, e, "this character cannot stand in an expression");
	if (fixed[i].kind == T_CLOSE_BRACE && lx->mode == LEX_INTERP && lx->brace == 0) {
		*done = true;
		return add(lx, T_END, 1, gap) ? 0 : hm_err_set(e, HM_ENOMEM, "out of memory while compiling");
	}
	if (fixed[i].kind == T_EXCLAM && lx->named && lx->paren == 0 && r.len > 1 &&
	    hm_lex_is_blank(r.p[1])) {
		lx->named = false; /* `a=b! c=d`: the ! ends there, until the next = */
		return add(lx, T_TERMINATING_EXCLAM, 1, gap)
			       ? 0
			       : hm_err_set(e, HM_ENOMEM, "out of memory while compiling");
	}
	if (!add(lx, fixed[i].kind, fixed[i].len, gap))
		return hm_err_set(e, HM_ENOMEM, "out of memory while compiling");
	return 0;
}

/* Nesting, and what the tag rules need to know, after a token was added. */
static void note_token(struct lexer *lx)
{
	const struct hm_tok *t = &lx->tok[lx->n - 1];
	bool outside = lx->paren == 0 && lx->bracket == 0 && lx->brace == 0;

	if (lx->mode == LEX_IF)
		hm_gt_note(&lx->gt, t->kind, outside);
	switch (t->kind) {
	case T_OPEN_PAREN: lx->paren++; break;
	case T_CLOSE_PAREN:
		if (lx->paren > 0)
			lx->paren--;
		break;
	case T_OPEN_BRACKET: lx->bracket++; break;
	case T_CLOSE_BRACKET:
		if (lx->bracket > 0)
			lx->bracket--;
		break;
	case T_OPEN_BRACE: lx->brace++; break;
	case T_CLOSE_BRACE:
		if (lx->brace > 0)
			lx->brace--;
		break;
	case T_EQUALS:
		if (lx->mode == LEX_CALL && outside && !lx->await_ws)
			lx->named = true;
		break;
	default: break;
	}
}

int hm_lex_expr(const struct hm_src *s, enum hm_lex_mode mode, size_t pos, struct hm_arena *a,
		struct hm_tok **tok_r, uint32_t *n_r, struct hm_err *e)
{
	struct lexer lx = {.s = s, .a = a, .mode = mode, .pos = pos, .await_ws = mode == LEX_CALL};
	bool done = false, gap;
	int rc;

	while (!done) {
		size_t before = lx.pos;

		if (lx.await_ws && lx.paren == 0 && lx.n > 0 && lx.pos < s->text.len &&
		    !hm_lex_is_blank(s->text.p[lx.pos]) && skip_blanks(&lx, &gap) && gap)
			return lex_error(s, before, e, "a blank is needed between the name and the comment");
		if (!skip_blanks(&lx, &gap))
			return lex_error(s, lx.pos, e, "the comment is not closed with -->");
		if (gap && lx.await_ws && lx.paren == 0) {
			size_t after = lx.pos;

			lx.await_ws = false;
			lx.pos = before;
			if (!add(&lx, T_WS, after - before, false))
				return hm_err_set(e, HM_ENOMEM, "out of memory while compiling");
			continue;
		}
		rc = lex_one(&lx, gap, &done, e);
		if (rc)
			return rc;
		note_token(&lx);
	}
	*tok_r = lx.tok;
	*n_r = lx.n;
	return 0;
}

/* -- tags ------------------------------------------------------------------------ */

enum shape { PARAM, BARE, EITHER, BOTH, OUT };
enum end_shape { END, NOEND };

static const struct {
	const char *name;
	uint8_t shape, end_shape;
} dirs[] = {
#define HM_DIR(id, name, shape, end_shape) [DIR_##id] = {name, shape, end_shape},
#include "tmpl/directives.h"
#undef HM_DIR
};

/* Offset just behind `blank* [/] >`, or 0. */
static size_t close_tag(struct hm_str t, size_t pos, bool slash)
{
	while (pos < t.len && hm_lex_is_blank(t.p[pos]))
		pos++;
	if (slash && pos < t.len && t.p[pos] == '/')
		pos++;
	return pos < t.len && t.p[pos] == '>' ? pos + 1 : 0;
}

static int dir_error(const struct hm_src *s, size_t pos, struct hm_err *e, const char *what,
		     struct hm_str name)
{
	return hm_err_at(e, HM_EPARSE, NULL, hm_src_line(s, pos), hm_src_col(s, pos), what, HM_STRF(name));
}

static int lex_directive(const struct hm_src *s, struct hm_tag *tag, struct hm_err *e)
{
	struct hm_str t = s->text;
	size_t pos = tag->pos + (tag->closing ? 3 : 2), n = pos, end, i;

	while (n < t.len &&
	       ((t.p[n] >= 'a' && t.p[n] <= 'z') || (t.p[n] >= 'A' && t.p[n] <= 'Z') || t.p[n] == '_'))
		n++;
	if (n == pos)
		return 0; /* "<#" alone is text */
	tag->name = hm_str_n(t.p + pos, n - pos);
	for (i = 0; i < DIR_COUNT && !hm_str_is(tag->name, dirs[i].name); i++)
		;
	if (i == DIR_COUNT)
		return dir_error(s, tag->pos, e, "there is no directive #%.*s", tag->name);
	if (dirs[i].shape == OUT)
		return dir_error(s, tag->pos, e, "#%.*s is not part of this template language", tag->name);
	tag->kind = TAG_DIR;
	tag->dir = (uint8_t)i;
	if (tag->closing) {
		end = close_tag(t, n, false);
		if (!end || dirs[i].end_shape == NOEND)
			return dir_error(s, tag->pos, e,
					 "the end tag </#%.*s> is malformed or does not exist", tag->name);
		tag->end = (uint32_t)end;
		tag->complete = true;
		return 0;
	}
	end = close_tag(t, n, dirs[i].shape != BARE);
	if (i == DIR_ITEMS) { /* `as` is part of the tag: no comment may stand in front of it */
		size_t k = n;

		while (k < t.len && hm_lex_is_blank(t.p[k]))
			k++;
		if (k == n || !hm_str_starts(hm_str_n(t.p + k, t.len - k), HM_STR("as")) || k + 2 >= t.len ||
		    !hm_lex_is_blank(t.p[k + 2]))
			return dir_error(s, tag->pos, e, "#%.*s needs `as` and a name behind it", tag->name);
	}
	if (dirs[i].shape != PARAM && end) {
		tag->end = (uint32_t)end;
		tag->complete = true;
		return 0;
	}
	if ((dirs[i].shape == PARAM || dirs[i].shape == BOTH) && n < t.len && hm_lex_is_blank(t.p[n])) {
		tag->end = (uint32_t)n + 1;
		return 0;
	}
	if (dirs[i].shape == PARAM)
		return dir_error(s, tag->pos, e, "#%.*s needs parameters after its name", tag->name);
	return dir_error(s, tag->pos, e, "the tag <#%.*s> is malformed", tag->name);
}

/* </@name> or </@> */
static void lex_call_end(const struct hm_src *s, struct hm_tag *tag)
{
	struct hm_str t = s->text;
	size_t pos = tag->pos + 3, n = pos, i, end;

	for (;;) {
		size_t start = n;

		while ((i = id_char(hm_str_n(t.p + n, t.len - n), n > start)) > 0)
			n += i;
		if (n == start) {
			if (n > pos)
				return; /* a dot without a name behind it */
			break;
		}
		if (n < t.len && t.p[n] == '.')
			n++;
		else
			break;
	}
	end = close_tag(t, n, false);
	if (!end)
		return;
	tag->kind = TAG_CALL_END;
	tag->name = hm_str_n(t.p + pos, n - pos);
	tag->end = (uint32_t)end;
	tag->complete = true;
}

/* {name.name}: letters, digits, _ as in names, but without $ @ and escapes */
static void lex_brace(const struct hm_src *s, struct hm_tag *tag)
{
	struct hm_str t = s->text;
	size_t pos = tag->pos + 1, n;
	bool first = true;

	for (;;) {
		size_t start = pos;

		while (pos < t.len) {
			uint32_t cp = hm_utf8_decode(hm_str_n(t.p + pos, t.len - pos), &n);
			bool ok = pos > start && cp >= '0' && cp <= '9';

			if (!ok)
				ok = cp != '$' && cp != '@' && hm_lex_id_start(cp);
			if (!ok)
				break;
			pos += n;
		}
		if (pos == start || pos >= t.len)
			return;
		if (first && hm_gt_is_reserved(hm_str_n(t.p + start, pos - start)))
			return;
		first = false;
		if (t.p[pos] == '}')
			break;
		if (t.p[pos] != '.')
			return;
		pos++;
	}
	tag->kind = TAG_BRACE;
	tag->end = (uint32_t)pos + 1;
}

int hm_lex_tag(const struct hm_src *s, size_t pos, bool single_brace, struct hm_tag *t, struct hm_err *e)
{
	struct hm_str r = hm_str_n(s->text.p + pos, s->text.len - pos);

	*t = (struct hm_tag){.kind = TAG_NONE, .pos = (uint32_t)pos};
	if (r.p[0] == '{') {
		if (single_brace)
			lex_brace(s, t);
		return 0;
	}
	if (hm_str_starts(r, HM_STR("${"))) {
		t->kind = TAG_INTERP;
		t->end = (uint32_t)pos + 2;
		return 0;
	}
	if (hm_str_starts(r, HM_STR("<#--"))) {
		size_t i = pos + 4;

		while (i + 3 <= s->text.len && memcmp(s->text.p + i, "-->", 3) != 0)
			i++;
		if (i + 3 > s->text.len)
			return lex_error(s, pos, e, "the comment is not closed with -->");
		t->kind = TAG_COMMENT;
		t->end = (uint32_t)i + 3;
		return 0;
	}
	if (hm_str_starts(r, HM_STR("<#")))
		return lex_directive(s, t, e);
	if (hm_str_starts(r, HM_STR("</#"))) {
		t->closing = true;
		return lex_directive(s, t, e);
	}
	if (hm_str_starts(r, HM_STR("<@"))) {
		t->kind = TAG_CALL;
		t->end = (uint32_t)pos + 2;
		return 0;
	}
	if (hm_str_starts(r, HM_STR("</@")))
		lex_call_end(s, t);
	return 0;
}
