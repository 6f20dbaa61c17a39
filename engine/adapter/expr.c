/*
 * expr.c - reads expressions and ${...} texts
 *
 * A recursive descent over the text of one YAML scalar. Depth is bounded, every
 * name is checked here, so evaluation never meets an unknown one. Columns in errors
 * are exact for plain and quoted one-line scalars, which is nearly all of them.
 */
#include "adapter/expr.h"

#include <stdarg.h>
#include <stdio.h>

#define MAX_DEPTH	48
#define MAX_ARGS	16
#define MAX_TOTAL_DEPTH 300 /* lets in lets: bounds the stack of an evaluation */

static const struct {
	const char *text, *doc;
	uint32_t where;
} vars[HM_VAR_TOTAL] = {
#define M			       HM_AT_M
#define C			       HM_AT_C
#define R			       HM_AT_R
#define A			       HM_AT_A
#define L			       HM_AT_L
#define K			       HM_AT_K
#define P			       HM_AT_P
#define Q			       HM_AT_Q
#define HM_VAR(name, text, where, doc) {text, doc, where},
#include "adapter/tbl_vars.h"
#undef HM_VAR
#undef M
#undef C
#undef R
#undef A
#undef L
#undef K
#undef P
#undef Q
};

static const struct {
	const char *text, *doc;
	uint8_t least, most;
	bool lambda;
} fns[HM_FN_COUNT] = {
#define HM_FILTER(name, text, least, most, doc) {text, doc, least, most, false},
#define HM_LAMBDA(name, text, least, most, doc) {text, doc, least, most, true},
#include "adapter/tbl_filters.h"
#undef HM_FILTER
#undef HM_LAMBDA
};

const char *hm_var_name(enum hm_var v)
{
	return vars[v].text;
}
const char *hm_var_doc(enum hm_var v)
{
	return vars[v].doc;
}
const char *hm_fn_name(enum hm_fn f)
{
	return fns[f].text;
}
const char *hm_fn_doc(enum hm_fn f)
{
	return fns[f].doc;
}

struct parser {
	const struct hm_parse *ctx;
	const struct hm_yaml *node; /* NULL: text only */
	const char *start, *p, *end;
	uint32_t loops; /* open lambdas: `it` is known inside */
	bool it_secret; /* and shows what it iterates over */
	int depth;
	struct hm_err *err;
	int rc;
};

static struct hm_expr *fail(struct parser *ps, const char *fmt, ...) HM_PRINTF(2, 3);
static struct hm_expr *fail(struct parser *ps, const char *fmt, ...)
{
	char text[240];
	va_list ap;

	if (ps->rc)
		return NULL;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (ps->node != NULL) {
		int col = ps->node->col + (ps->node->quoted ? 1 : 0) + (int)(ps->p - ps->start);

		ps->rc = hm_err_at(ps->err, HM_ECONFIG, ps->node->file, ps->node->line, col, "%s%s%s",
				   ps->ctx->where ? ps->ctx->where : "", ps->ctx->where ? ": " : "", text);
	} else {
		ps->rc = hm_err_set(ps->err, HM_ECONFIG, "%s", text);
	}
	return NULL;
}

static struct hm_expr *node_new(struct parser *ps, enum hm_op op, uint32_t n)
{
	struct hm_expr *e = hm_arena_zalloc(ps->ctx->a, sizeof(*e));

	if (e != NULL && n)
		e->a = hm_arena_zalloc(ps->ctx->a, n * sizeof(*e->a));
	if (e == NULL || (n && e->a == NULL))
		return fail(ps, "out of memory");
	e->op = (uint8_t)op;
	e->n = n;
	if (ps->node) {
		e->line = ps->node->line;
		e->col = ps->node->col + (int)(ps->p - ps->start);
	}
	return e;
}

/* Takes over what the children need and whether they show secrets. */
static struct hm_expr *adopt(struct hm_expr *e)
{
	for (uint32_t i = 0; i < e->n; i++) {
		if (e->a[i] == NULL)
			return NULL;
		e->needs |= e->a[i]->needs;
		e->secret |= e->a[i]->secret;
		e->depth = hm_max(e->depth, (uint16_t)(e->a[i]->depth + 1));
	}
	return e;
}

static struct hm_expr *binary(struct parser *ps, enum hm_op op, struct hm_expr *a, struct hm_expr *b)
{
	struct hm_expr *e;

	if (a == NULL || b == NULL || (e = node_new(ps, op, 2)) == NULL)
		return NULL;
	e->a[0] = a;
	e->a[1] = b;
	return adopt(e);
}

static void blanks(struct parser *ps)
{
	while (ps->p < ps->end && (*ps->p == ' ' || *ps->p == '\t' || *ps->p == '\n' || *ps->p == '\r'))
		ps->p++;
}

static bool eat(struct parser *ps, const char *token)
{
	size_t n = strlen(token);

	blanks(ps);
	if ((size_t)(ps->end - ps->p) < n || memcmp(ps->p, token, n) != 0)
		return false;
	ps->p += n;
	return true;
}

static char peek(struct parser *ps)
{
	blanks(ps);
	return ps->p < ps->end ? *ps->p : '\0';
}

static bool alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

static struct hm_str ident(struct parser *ps)
{
	const char *s = ps->p;

	while (ps->p < ps->end && (alpha(*ps->p) || digit(*ps->p)))
		ps->p++;
	return hm_str_n(s, (size_t)(ps->p - s));
}

/* Members of answers have dashes, at-signs and colons: everything up to what ends a path. */
static struct hm_str member(struct parser *ps)
{
	const char *s = ps->p;

	while (ps->p < ps->end) {
		char c = *ps->p;

		if (!alpha(c) && !digit(c) && c != '@' && c != '$' && c != '-')
			break;
		/* A dash belongs to the name only between two of its characters. */
		if (c == '-' && (ps->p + 1 >= ps->end || (!alpha(ps->p[1]) && !digit(ps->p[1]))))
			break;
		ps->p++;
	}
	return hm_str_n(s, (size_t)(ps->p - s));
}

static bool string(struct parser *ps, struct hm_str *r)
{
	char quote = *ps->p, *out, *o;
	const char *s = ++ps->p;

	while (ps->p < ps->end && *ps->p != quote)
		ps->p += *ps->p == '\\' && ps->p + 1 < ps->end ? 2 : 1;
	if (ps->p >= ps->end) {
		ps->p = s - 1;
		fail(ps, "the text that starts here has no closing %c", quote);
		return false;
	}
	out = o = hm_arena_alloc(ps->ctx->a, (size_t)(ps->p - s) + 1);
	if (out == NULL) {
		fail(ps, "out of memory");
		return false;
	}
	for (; s < ps->p; s++) {
		if (*s != '\\') {
			*o++ = *s;
			continue;
		}
		switch (*++s) {
		case 'n': *o++ = '\n'; break;
		case 't': *o++ = '\t'; break;
		case 'r': *o++ = '\r'; break;
		case '\\':
		case '"':
		case '\'':
		case '$': *o++ = *s; break;
		default:
			fail(ps, "\\%c is not an escape; known are \\n \\t \\r \\\\ \\\" \\' \\$", *s);
			return false;
		}
	}
	ps->p++;
	*r = hm_str_n(out, (size_t)(o - out));
	return true;
}

static struct hm_expr *parse_cond(struct parser *ps);

static bool bracket(struct parser *ps, struct hm_seg *seg)
{
	bool negative;
	struct hm_str digits;
	uint64_t v;

	blanks(ps);
	if (ps->p >= ps->end)
		return fail(ps, "] is missing") != NULL;
	if (*ps->p == '"' || *ps->p == '\'') {
		seg->kind = HM_SEG_NAME;
		if (!string(ps, &seg->name))
			return false;
	} else if (*ps->p == '-' || digit(*ps->p)) {
		negative = eat(ps, "-");
		digits = ident(ps);
		if (!hm_str_u64(digits, &v) || v > 10000)
			return fail(ps, "an index is a number up to 10000") != NULL;
		seg->kind = HM_SEG_INDEX;
		seg->index = negative ? -(int32_t)v : (int32_t)v;
	} else {
		seg->name = member(ps);
		if (seg->name.len == 0)
			return fail(ps, "expected [0], [\"name\"], [name=text] or [name~text]") != NULL;
		seg->kind = eat(ps, "~") ? HM_SEG_HAS : HM_SEG_IS;
		if (seg->kind == HM_SEG_IS && !eat(ps, "="))
			return fail(ps, "expected = or ~ behind the name") != NULL;
		blanks(ps);
		if (ps->p < ps->end && (*ps->p == '"' || *ps->p == '\'')) {
			if (!string(ps, &seg->text))
				return false;
		} else {
			const char *s = ps->p;

			while (ps->p < ps->end && *ps->p != ']')
				ps->p++;
			seg->text = hm_str_trim(hm_str_n(s, (size_t)(ps->p - s)));
		}
	}
	if (!eat(ps, "]"))
		return fail(ps, "] is missing") != NULL;
	return true;
}

/* Reads .a[0]["b"]... behind a name; false on error. */
static bool path(struct parser *ps, const struct hm_seg **seg_r, uint32_t *n_r)
{
	struct hm_seg seg[16];
	uint32_t n = 0;

	for (;;) {
		char c = ps->p < ps->end ? *ps->p : '\0';

		if (c != '.' && c != '[')
			break;
		if (n == hm_countof(seg))
			return fail(ps, "a path has at most %zu steps", hm_countof(seg)) != NULL;
		memset(&seg[n], 0, sizeof(seg[n]));
		ps->p++;
		if (c == '.') {
			seg[n].name = member(ps);
			if (seg[n].name.len == 0)
				return fail(ps, "a name must follow the dot") != NULL;
			if (hm_str_is(seg[n].name, "$json"))
				seg[n].kind = HM_SEG_PARSE;
		} else if (!bracket(ps, &seg[n])) {
			return false;
		}
		n++;
	}
	*n_r = n;
	*seg_r = NULL;
	if (n) {
		struct hm_seg *copy = hm_arena_alloc(ps->ctx->a, n * sizeof(*copy));

		if (copy == NULL)
			return fail(ps, "out of memory") != NULL;
		memcpy(copy, seg, n * sizeof(*copy));
		/* Names of plain paths point into the YAML text, which lives as long as the adapter. */
		*seg_r = copy;
	}
	return true;
}

static struct hm_expr *setting(struct parser *ps, struct hm_expr *e)
{
	const struct hm_names *names = ps->ctx->names;

	if (e->n_seg == 0 || e->seg[0].kind != HM_SEG_NAME)
		return fail(ps, "settings needs a name: settings.topic");
	for (uint32_t i = 0; i < names->n_settings; i++) {
		if (!hm_str_eq(names->settings[i], e->seg[0].name))
			continue;
		e->op = HM_EX_SETTING;
		e->id = (uint16_t)i;
		e->secret = names->setting_secret[i];
		if (names->setting_used)
			names->setting_used[i] = true;
		e->seg++;
		e->n_seg--;
		return e;
	}
	return fail(ps, "no setting is called \"%.*s\"; declare it in the section settings",
		    HM_STRF(e->seg[0].name));
}

static struct hm_expr *option(struct parser *ps, struct hm_expr *e)
{
	struct hm_names *names = ps->ctx->names;
	uint32_t i;

	if (e->n_seg == 0)
		return e; /* all of them */
	if (e->seg[0].kind != HM_SEG_NAME)
		return fail(ps, "options needs a name: options.badge");
	for (i = 0; i < names->n_options && !hm_str_eq(names->options[i], e->seg[0].name); i++)
		;
	if (i == names->n_options) {
		if (i == hm_countof(names->options))
			return fail(ps, "more than %zu options are used", hm_countof(names->options));
		names->options[names->n_options++] = e->seg[0].name;
	}
	e->op = HM_EX_OPTION;
	e->id = (uint16_t)i;
	e->seg++;
	e->n_seg--;
	return e;
}

/* A misspelt name gets the nearest known one. */
static struct hm_expr *unknown(struct parser *ps, struct hm_str name)
{
	const char *list[HM_VAR_TOTAL + 32], *near;
	char lets[32][48];
	size_t n = 0;

	for (size_t i = 0; i < HM_VAR_TOTAL; i++)
		if (vars[i].where & ps->ctx->allowed)
			list[n++] = vars[i].text;
	for (uint32_t i = 0; i < ps->ctx->names->n_lets && i < 31; i++) {
		snprintf(lets[i], sizeof(lets[i]), "%.*s", HM_STRF(ps->ctx->names->lets[i]));
		list[n++] = lets[i];
	}
	list[n] = NULL;
	near = hm_str_nearest(name, list);
	if (near != NULL)
		return fail(ps, "\"%.*s\" is not known here, did you mean \"%s\"?", HM_STRF(name), near);
	return fail(ps, "\"%.*s\" is not known here; quote it if it is a text", HM_STRF(name));
}

static struct hm_expr *variable(struct parser *ps, struct hm_expr *e, struct hm_str name)
{
	uint32_t allowed = ps->ctx->allowed | (ps->loops ? HM_AT_L : 0);
	const struct hm_names *names = ps->ctx->names;
	const char *after = ps->p;
	bool elsewhere = false;

	for (uint32_t i = 0; i < names->n_lets; i++) {
		if (!hm_str_eq(names->lets[i], name))
			continue;
		e->op = HM_EX_LET;
		e->id = (uint16_t)i;
		e->needs = names->let_expr[i]->needs;
		e->secret = names->let_expr[i]->secret;
		e->depth = (uint16_t)(names->let_expr[i]->depth + 1);
		if (e->depth > MAX_TOTAL_DEPTH)
			return fail(ps, "%.*s: lets are nested too deeply", HM_STRF(name));
		if (e->needs & ~allowed)
			return fail(ps, "%.*s depends on the serialised request and cannot be part of it",
				    HM_STRF(name));
		return path(ps, &e->seg, &e->n_seg) ? e : NULL;
	}
	if (hm_str_is(name, "request") && ps->p < ps->end && *ps->p == '.') {
		struct hm_str full = name;

		ps->p++;
		full.len += 1 + ident(ps).len;
		name = full;
	}
	for (size_t i = 0; i < HM_VAR_TOTAL; i++) {
		if (!hm_str_is(name, vars[i].text))
			continue;
		if ((vars[i].where & allowed) == 0) {
			for (size_t k = i + 1; k < HM_VAR_TOTAL && !elsewhere;
			     k++) /* the same name may mean something here */
				elsewhere = hm_str_is(name, vars[k].text) && (vars[k].where & allowed) != 0;
			if (elsewhere)
				continue;
			ps->p = after;
			return fail(ps, "\"%.*s\" (%s) is not known here", HM_STRF(name), vars[i].doc);
		}
		e->op = HM_EX_VAR;
		e->id = (uint16_t)i;
		e->needs = vars[i].where & HM_AT_R;
		if (i < 64) /* those of the content stand first, and nobody asks for others */
			ps->ctx->names->used |= 1ull << i;
		e->secret = i == HM_VAR_CREDENTIAL || i == HM_VAR_JWT || i == HM_VAR_REFRESH_TOKEN ||
			    (i == HM_VAR_IT && ps->it_secret);
		if (!path(ps, &e->seg, &e->n_seg))
			return NULL;
		if (i == HM_VAR_SETTINGS)
			return setting(ps, e);
		if (i == HM_VAR_OPTIONS)
			return option(ps, e);
		if (i == HM_VAR_HEADER && (e->n_seg != 1 || e->seg[0].kind != HM_SEG_NAME))
			return fail(ps, "header needs a name: header.retry-after");
		return e;
	}
	return unknown(ps, name);
}

static struct hm_expr *number(struct parser *ps)
{
	struct hm_str s = ident(ps);
	struct hm_expr *e = node_new(ps, HM_EX_CONST, 0);
	uint64_t v;

	if (e == NULL)
		return NULL;
	if (!hm_str_u64(s, &v) || v > INT64_MAX)
		return fail(ps, "\"%.*s\" is not a whole number", HM_STRF(s));
	e->k = hm_val_int((int64_t)v);
	return e;
}

/* [a, b, c]: missing ones are left out. */
static struct hm_expr *list(struct parser *ps)
{
	struct hm_expr *v[MAX_ARGS], *e;
	uint32_t n = 0;

	ps->p++;
	while (peek(ps) != ']') {
		if (n > 0 && !eat(ps, ","))
			return fail(ps, "expected , or ]");
		if (n == MAX_ARGS)
			return fail(ps, "a list has at most %d elements", MAX_ARGS);
		if ((v[n++] = parse_cond(ps)) == NULL)
			return NULL;
	}
	ps->p++;
	if (n == 0)
		return fail(ps, "an empty list is of no use");
	if ((e = node_new(ps, HM_EX_LIST, n)) == NULL)
		return NULL;
	memcpy(e->a, v, n * sizeof(v[0]));
	return adopt(e);
}

static struct hm_expr *primary(struct parser *ps)
{
	struct hm_expr *e, *inner;
	struct hm_str name;
	char c = peek(ps);

	if (c == '(') {
		ps->p++;
		inner = parse_cond(ps);
		if (inner == NULL)
			return NULL;
		if (!eat(ps, ")"))
			return fail(ps, ") is missing");
		if (ps->p < ps->end && (*ps->p == '.' || *ps->p == '[')) {
			if ((e = node_new(ps, HM_EX_PATH, 1)) == NULL)
				return NULL;
			e->a[0] = inner;
			return path(ps, &e->seg, &e->n_seg) ? adopt(e) : NULL;
		}
		return inner;
	}
	if (c == '"' || c == '\'') {
		if ((e = node_new(ps, HM_EX_CONST, 0)) == NULL || !string(ps, &name))
			return NULL;
		e->k = hm_val_str(name);
		e->written = true;
		return e;
	}
	if (digit(c))
		return number(ps);
	if (c == '[')
		return list(ps);
	if (!alpha(c))
		return c ? fail(ps, "unexpected '%c'", c) : fail(ps, "a value is missing at the end");
	if ((e = node_new(ps, HM_EX_CONST, 0)) == NULL)
		return NULL;
	name = ident(ps);
	if (hm_str_is(name, "true") || hm_str_is(name, "false")) {
		e->k = hm_val_bool(name.len == 4);
		return e;
	}
	if (hm_str_is(name, "none"))
		return e;
	return variable(ps, e, name);
}

static int find_fn(struct hm_str name)
{
	for (int i = 0; i < HM_FN_COUNT; i++)
		if (hm_str_is(name, fns[i].text))
			return i;
	return -1;
}

static struct hm_expr *no_filter(struct parser *ps, struct hm_str name)
{
	const char *list[HM_FN_COUNT + 1], *near;

	for (size_t i = 0; i < HM_FN_COUNT; i++)
		list[i] = fns[i].text;
	list[HM_FN_COUNT] = NULL;
	near = hm_str_nearest(name, list);
	return fail(ps, "no filter is called \"%.*s\"%s%s%s", HM_STRF(name), near ? ", did you mean \"" : "",
		    near ? near : "", near ? "\"?" : "");
}

/* Digests and signatures do not show their key; everything else shows what it was given. */
static bool shows_secret(const struct hm_expr *e)
{
	switch (e->id) {
	case HM_FN_MD5:
	case HM_FN_SHA1:
	case HM_FN_SHA256:
	case HM_FN_SHA512:
	case HM_FN_HMAC_MD5:
	case HM_FN_HMAC_SHA1:
	case HM_FN_HMAC_SHA256:
	case HM_FN_HMAC_SHA512:
	case HM_FN_SIGN:
	case HM_FN_AES_CBC:
	case HM_FN_AES_ECB:
	case HM_FN_AES_GCM:
	case HM_FN_RSA_ENCRYPT:
	case HM_FN_MATCHES:
	case HM_FN_IS_GSM:
	case HM_FN_VERIFY:
	case HM_FN_EQUALS:
	case HM_FN_AES_CBC_ENCRYPT:
	case HM_FN_WEBPUSH:
	case HM_FN_STARTS:
	case HM_FN_ENDS:
	case HM_FN_CONTAINS:
	case HM_FN_ANY:
	case HM_FN_EVERY:
	case HM_FN_LEN:
	case HM_FN_CHARS:
	case HM_FN_BOOL: return false;
	case HM_FN_MAP: return e->a[1]->secret; /* what each element becomes */
	default: return e->secret;
	}
}

/* Patterns are what the file says, so that they are checked and compiled with it. */
static bool compile(struct parser *ps, struct hm_expr *e)
{
	struct hm_regex *r;
	struct hm_err why = {0};
	int64_t group;

	if (e->id != HM_FN_MATCHES && e->id != HM_FN_CAPTURE)
		return true;
	if (e->a[1]->op != HM_EX_CONST || e->a[1]->k.t != HM_V_STR)
		return fail(ps, "%s expects a pattern in quotes", fns[e->id].text) != NULL;
	if (hm_regex_compile(e->a[1]->k.s, ps->ctx->a, &r, &why) != 0)
		return fail(ps, "%s", why.text) != NULL;
	if (e->n > 2 && (e->a[2]->op != HM_EX_CONST || !hm_val_int_of(&e->a[2]->k, &group) || group < 0 ||
			 group > (int64_t)hm_regex_groups(r)))
		return fail(ps, "capture: the pattern has %u groups", hm_regex_groups(r)) != NULL;
	e->regex = r;
	return true;
}

static struct hm_expr *call(struct parser *ps, struct hm_expr *in)
{
	struct hm_expr *args[MAX_ARGS + 1], *e;
	struct hm_str name;
	uint32_t n = 1;
	int f;

	blanks(ps);
	name = ident(ps);
	f = find_fn(name);
	if (f < 0)
		return no_filter(ps, name);
	args[0] = in;
	if (ps->p < ps->end && *ps->p == '(') {
		bool outer = ps->it_secret;

		ps->p++;
		ps->loops += fns[f].lambda;
		if (fns[f].lambda)
			ps->it_secret = in->secret;
		while (peek(ps) != ')') {
			if (n > 1 && !eat(ps, ","))
				return fail(ps, "expected , or )");
			if (n > MAX_ARGS)
				return fail(ps, "too many arguments");
			if ((args[n++] = parse_cond(ps)) == NULL)
				return NULL;
		}
		ps->p++;
		ps->loops -= fns[f].lambda;
		ps->it_secret = outer;
	}
	if (n - 1 < fns[f].least || n - 1 > fns[f].most)
		return fail(ps, "%s takes %u%s%.0u argument%s: %s", fns[f].text, fns[f].least,
			    fns[f].most > fns[f].least ? " or more" : "", 0u, fns[f].least == 1 ? "" : "s",
			    fns[f].doc);
	if ((e = node_new(ps, HM_EX_CALL, n)) == NULL)
		return NULL;
	e->id = (uint16_t)f;
	memcpy(e->a, args, n * sizeof(args[0]));
	if (adopt(e) == NULL || !compile(ps, e))
		return NULL;
	e->secret = shows_secret(e);
	return e;
}

static struct hm_expr *unary(struct parser *ps)
{
	struct hm_expr *e;

	if (++ps->depth > MAX_DEPTH)
		return fail(ps, "the expression is nested too deeply");
	if (peek(ps) == '!' && !(ps->p + 1 < ps->end && ps->p[1] == '=')) {
		ps->p++;
		if ((e = node_new(ps, HM_EX_NOT, 1)) != NULL && (e->a[0] = unary(ps)) != NULL)
			adopt(e);
		else
			e = NULL;
	} else if (peek(ps) == '-') {
		ps->p++;
		if ((e = node_new(ps, HM_EX_NEG, 1)) != NULL && (e->a[0] = unary(ps)) != NULL)
			adopt(e);
		else
			e = NULL;
	} else {
		e = primary(ps);
	}
	while (e != NULL && peek(ps) == '|' && !(ps->p + 1 < ps->end && ps->p[1] == '|')) {
		ps->p++;
		e = call(ps, e);
	}
	ps->depth--;
	return e;
}

static struct hm_expr *parse_mul(struct parser *ps)
{
	struct hm_expr *e = unary(ps);

	for (;;) {
		if (e == NULL)
			return NULL;
		if (eat(ps, "*"))
			e = binary(ps, HM_EX_MUL, e, unary(ps));
		else if (eat(ps, "/"))
			e = binary(ps, HM_EX_DIV, e, unary(ps));
		else if (eat(ps, "%"))
			e = binary(ps, HM_EX_MOD, e, unary(ps));
		else
			return e;
	}
}

static struct hm_expr *parse_add(struct parser *ps)
{
	struct hm_expr *e = parse_mul(ps);

	for (;;) {
		if (e == NULL)
			return NULL;
		if (eat(ps, "~"))
			e = binary(ps, HM_EX_CAT, e, parse_mul(ps));
		else if (eat(ps, "+"))
			e = binary(ps, HM_EX_ADD, e, parse_mul(ps));
		else if (eat(ps, "-"))
			e = binary(ps, HM_EX_SUB, e, parse_mul(ps));
		else
			return e;
	}
}

static struct hm_expr *parse_coalesce(struct parser *ps)
{
	struct hm_expr *e = parse_add(ps);

	while (e != NULL && eat(ps, "??"))
		e = binary(ps, HM_EX_COALESCE, e, parse_add(ps));
	return e;
}

static struct hm_expr *parse_cmp(struct parser *ps)
{
	static const struct {
		const char *text;
		enum hm_op op;
	} ops[] = {{"==", HM_EX_EQ}, {"!=", HM_EX_NE}, {"<=", HM_EX_LE},
		   {">=", HM_EX_GE}, {"<", HM_EX_LT},  {">", HM_EX_GT}};
	struct hm_expr *e = parse_coalesce(ps);

	for (size_t i = 0; e != NULL && i < hm_countof(ops); i++)
		if (eat(ps, ops[i].text))
			return binary(ps, ops[i].op, e, parse_coalesce(ps));
	return e;
}

static struct hm_expr *parse_and(struct parser *ps)
{
	struct hm_expr *e = parse_cmp(ps);

	while (e != NULL && eat(ps, "&&"))
		e = binary(ps, HM_EX_AND, e, parse_cmp(ps));
	return e;
}

static struct hm_expr *parse_or(struct parser *ps)
{
	struct hm_expr *e = parse_and(ps);

	while (e != NULL && eat(ps, "||"))
		e = binary(ps, HM_EX_OR, e, parse_and(ps));
	return e;
}

static struct hm_expr *parse_cond(struct parser *ps)
{
	struct hm_expr *c, *e;

	if (++ps->depth > MAX_DEPTH)
		return fail(ps, "the expression is nested too deeply");
	c = parse_or(ps);
	if (c != NULL && peek(ps) == '?' && !(ps->p + 1 < ps->end && ps->p[1] == '?')) {
		ps->p++;
		if ((e = node_new(ps, HM_EX_COND, 3)) == NULL)
			return NULL;
		e->a[0] = c;
		if ((e->a[1] = parse_cond(ps)) == NULL)
			return NULL;
		if (!eat(ps, ":"))
			return fail(ps, ": is missing (condition ? one : other)");
		if ((e->a[2] = parse_cond(ps)) == NULL)
			return NULL;
		adopt(e);
		/* Which branch was taken does not show the condition. */
		e->secret = e->a[1]->secret || e->a[2]->secret;
		e->written = e->a[1]->written && e->a[2]->written;
		c = e;
	}
	ps->depth--;
	return c;
}

static int parse_all(struct parser *ps, struct hm_expr **r)
{
	struct hm_expr *e = parse_cond(ps);

	if (e != NULL && peek(ps) != '\0')
		fail(ps, "unexpected '%c'", peek(ps));
	*r = ps->rc ? NULL : e;
	return ps->rc;
}

int hm_expr_parse_text(const struct hm_parse *p, struct hm_str text, struct hm_expr **r, struct hm_err *e)
{
	struct parser ps = {.ctx = p, .start = text.p, .p = text.p, .end = text.p + text.len, .err = e};

	if (text.p == NULL || memchr(text.p, '\0', text.len) != NULL)
		return fail(&ps, "a NUL byte has no place here") == NULL ? ps.rc : 0;
	if (p->allowed & HM_AT_L)
		ps.loops = 1;
	return parse_all(&ps, r);
}

int hm_expr_parse(const struct hm_parse *p, const struct hm_yaml *node, struct hm_expr **r, struct hm_err *e)
{
	struct parser ps = {.ctx = p, .node = node, .err = e};

	if (node->type != HM_YAML_SCALAR)
		return hm_yaml_err(node, e, HM_ECONFIG, "%s: expected an expression", p->where);
	ps.start = ps.p = node->text.p;
	ps.end = node->text.p + node->text.len;
	if (memchr(ps.p, '\0', node->text.len) != NULL)
		return hm_yaml_err(node, e, HM_ECONFIG, "%s: a NUL byte has no place here", p->where);
	if (p->allowed & HM_AT_L)
		ps.loops = 1;
	return parse_all(&ps, r);
}

/* Counts "${" that open an insert. "$${" stands for a literal "${". */
static uint32_t count_inserts(struct hm_str s)
{
	uint32_t n = 0;

	for (size_t i = 0; i + 1 < s.len; i++)
		if (s.p[i] == '$' && s.p[i + 1] == '{')
			n++;
	return n;
}

static void add_literal(struct hm_tpl *t, const char *from, const char *to)
{
	if (to > from)
		t->part[t->n++].lit = hm_str_n(from, (size_t)(to - from));
}

int hm_tpl_parse(const struct hm_parse *p, const struct hm_yaml *node, struct hm_tpl **r, struct hm_err *e)
{
	struct parser ps = {.ctx = p, .node = node, .err = e};
	struct hm_tpl *t;
	const char *run;

	if (node->type != HM_YAML_SCALAR)
		return hm_yaml_err(node, e, HM_ECONFIG, "%s: expected a text", p->where);
	t = hm_arena_zalloc(p->a, sizeof(*t));
	if (t != NULL)
		t->part = hm_arena_zalloc(p->a,
					  (2 * (size_t)count_inserts(node->text) + 1) * sizeof(*t->part));
	if (t == NULL || t->part == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	if (memchr(node->text.p, '\0', node->text.len) != NULL)
		return hm_yaml_err(node, e, HM_ECONFIG, "%s: a NUL byte has no place here", p->where);
	ps.start = ps.p = run = node->text.p;
	ps.end = node->text.p + node->text.len;
	if (p->allowed & HM_AT_L)
		ps.loops = 1;
	while (ps.p < ps.end) {
		struct hm_part *part;

		if (*ps.p != '$' || ps.p + 1 >= ps.end || ps.p[1] != '{') {
			ps.p++;
			continue;
		}
		if (ps.p > run && ps.p[-1] == '$') { /* $${ */
			add_literal(t, run, ps.p - 1);
			run = ps.p;
			ps.p += 2;
			continue;
		}
		add_literal(t, run, ps.p);
		ps.p += 2;
		part = &t->part[t->n];
		part->e = parse_cond(&ps);
		if (part->e != NULL && !eat(&ps, "}"))
			fail(&ps, "} is missing");
		if (ps.rc)
			return ps.rc;
		t->n++;
		t->needs |= part->e->needs;
		t->secret |= part->e->secret;
		run = ps.p;
	}
	add_literal(t, run, ps.p);
	*r = t;
	return 0;
}
