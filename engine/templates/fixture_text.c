/*
 * fixture_text.c - values of fixtures compared, printed as YAML, put back into their file
 */
#include "base/json.h"
#include "templates/fixture_int.h"

const char *const hm_fixture_members[FIXTURE_MEMBERS + 1] = {"title",	"body",	   "short", "url", "image",
							     "buttons", "options", "data",  NULL};

const msgpack_object *hm_fixture_member(const struct fixture_got *g, const char *name, msgpack_object *room)
{
	const struct hm_content *c = &g->content;
	const struct hm_str texts[] = {c->title, c->body, c->short_text, c->url, c->image};
	const msgpack_object *trees[] = {c->buttons, c->options, c->data};

	for (size_t i = 0; i < FIXTURE_MEMBERS; i++) {
		if (strcmp(name, hm_fixture_members[i]) != 0)
			continue;
		if (i >= hm_countof(texts))
			return trees[i - hm_countof(texts)];
		if (texts[i].len == 0)
			return NULL;
		memset(room, 0, sizeof(*room));
		room->type = MSGPACK_OBJECT_STR;
		room->via.str.ptr = texts[i].p;
		room->via.str.size = (uint32_t)texts[i].len;
		return room;
	}
	return NULL;
}

static bool value_into(const struct hm_yaml *n, struct hm_arena *a, msgpack_object *o)
{
	uint32_t i = 0;

	memset(o, 0, sizeof(*o));
	switch (n->type) {
	case HM_YAML_NULL: o->type = MSGPACK_OBJECT_NIL; return true;
	case HM_YAML_SCALAR: hm_fact_text_value(n->text, !n->quoted && !n->literal, o); return true;
	case HM_YAML_SEQ:
		o->type = MSGPACK_OBJECT_ARRAY;
		o->via.array.size = (uint32_t)n->len;
		o->via.array.ptr = hm_arena_alloc(a, (n->len + 1) * sizeof(msgpack_object));
		for (const struct hm_yaml *c = n->first; c && o->via.array.ptr; c = c->next)
			if (!value_into(c, a, &o->via.array.ptr[i++]))
				return false;
		return o->via.array.ptr != NULL;
	case HM_YAML_MAP:
		o->type = MSGPACK_OBJECT_MAP;
		o->via.map.size = (uint32_t)n->len;
		o->via.map.ptr = hm_arena_alloc(a, (n->len + 1) * sizeof(msgpack_object_kv));
		for (const struct hm_yaml *c = n->first; c && o->via.map.ptr; c = c->next, i++) {
			hm_fact_text_value(c->key, false, &o->via.map.ptr[i].key);
			if (!value_into(c, a, &o->via.map.ptr[i].val))
				return false;
		}
		return o->via.map.ptr != NULL;
	}
	return false;
}

const msgpack_object *hm_fixture_value(const struct hm_yaml *n, struct hm_arena *a)
{
	msgpack_object *o = hm_arena_alloc(a, sizeof(*o));

	return o && value_into(n, a, o) ? o : NULL;
}

bool hm_fixture_same(const msgpack_object *a, const msgpack_object *b)
{
	struct hm_str x, y;

	if (!a || !b)
		return a == b;
	if (a->type == MSGPACK_OBJECT_MAP && b->type == MSGPACK_OBJECT_MAP) {
		if (a->via.map.size != b->via.map.size)
			return false;
		for (uint32_t i = 0; i < a->via.map.size; i++)
			if (!hm_mp_str(&a->via.map.ptr[i].key, &x) ||
			    !hm_fixture_same(&a->via.map.ptr[i].val, hm_mp_get(b, x)))
				return false;
		return true;
	}
	if (a->type == MSGPACK_OBJECT_ARRAY && b->type == MSGPACK_OBJECT_ARRAY) {
		if (a->via.array.size != b->via.array.size)
			return false;
		for (uint32_t i = 0; i < a->via.array.size; i++)
			if (!hm_fixture_same(&a->via.array.ptr[i], &b->via.array.ptr[i]))
				return false;
		return true;
	}
	if (hm_mp_decimal(a, &x) && hm_mp_decimal(b, &y))
		return hm_str_eq(x, y);
	return msgpack_object_equal(*a, *b);
}

/* -- as YAML --------------------------------------------------------------------------------------- */

/* A block keeps every character only of texts that begin at the margin and hold nothing but printable ones. */
static bool fits_block(struct hm_str s)
{
	if (hm_str_chr(s, '\n') < 0 || s.p[0] == ' ' || s.p[0] == '\n' || hm_str_ends(s, HM_STR("\n\n")))
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if ((c < 0x20 && c != '\n') || c == 0x7f)
			return false;
		/* NEL, LS, PS are line ends to YAML; a byte order mark is not printable */
		if ((c == 0xc2 && (unsigned char)s.p[i + 1] < 0xa0) ||
		    (c == 0xe2 && (unsigned char)s.p[i + 1] == 0x80 &&
		     ((unsigned char)s.p[i + 2] & 0xfe) == 0xa8) ||
		    (c == 0xef && (unsigned char)s.p[i + 1] == 0xbb))
			return false;
	}
	return true;
}

static void pad(struct hm_buf *b, size_t n)
{
	while (n--)
		hm_buf_putc(b, ' ');
}

void hm_fixture_put(struct hm_buf *b, size_t indent, const char *key, const msgpack_object *v)
{
	struct hm_str s, line;

	pad(b, indent);
	hm_buf_printf(b, "%s:", key);
	if (!v) {
		hm_buf_lit(b, " null\n");
		return;
	}
	if (v->type != MSGPACK_OBJECT_STR || !hm_mp_str(v, &s) || !fits_block(s)) {
		hm_buf_putc(b, ' ');
		hm_msgpack_to_json(v, b);
		hm_buf_putc(b, '\n');
		return;
	}
	hm_buf_puts(b, hm_str_ends(s, HM_STR("\n")) ? HM_STR(" |\n") : HM_STR(" |-\n"));
	while (hm_str_split(&s, '\n', &line)) {
		if (line.len)
			pad(b, indent + 2);
		hm_buf_puts(b, line);
		hm_buf_putc(b, '\n');
	}
}

/* -- back into the file ---------------------------------------------------------------------------------- */

/* Where line n (from 1) begins; the end of the text when there is none. */
static size_t line_at(struct hm_str s, int n)
{
	size_t at = 0;

	while (n > 1 && at < s.len) {
		const char *end = memchr(s.p + at, '\n', s.len - at);

		at = end ? (size_t)(end - s.p) + 1 : s.len;
		n--;
	}
	return at;
}

static struct hm_str line_of(struct hm_str s, size_t at)
{
	const char *end = at < s.len ? memchr(s.p + at, '\n', s.len - at) : NULL;

	return hm_str_n(s.p + at, end ? (size_t)(end - s.p) - at : s.len - at);
}

static size_t blanks(struct hm_str line)
{
	size_t n = 0;

	while (n < line.len && line.p[n] == ' ')
		n++;
	return n;
}

/* Behind the last line of the block whose key stands at `from`, in column `col` (from 0): what follows it is indented
 * deeper, or is blank and followed by such. */
static size_t block_end(struct hm_str s, size_t from, size_t col)
{
	size_t at = from, end;

	do {
		at += line_of(s, at).len;
		at += at < s.len;
		end = at;
		while (at < s.len && hm_str_trim(line_of(s, at)).len == 0) {
			at += line_of(s, at).len;
			at += at < s.len;
		}
	} while (at < s.len && blanks(line_of(s, at)) > col);
	return end;
}

/* Does the key begin its line, but for blanks and the dash of a list? */
static bool begins_line(struct hm_str s, size_t at, int col)
{
	struct hm_str line = line_of(s, at);
	size_t i = 0;

	while (i + 1 < (size_t)col && i < line.len && (line.p[i] == ' ' || line.p[i] == '-'))
		i++;
	return i + 1 == (size_t)col;
}

bool hm_fixture_replace(struct hm_buf *text, const struct hm_yaml *kase, struct hm_str expect)
{
	const struct hm_yaml *old = hm_yaml_get(kase, "expect"), *first = kase->first;
	struct hm_str s = hm_buf_str(text);
	size_t from, to, col, first_at;
	struct hm_buf b;
	bool ok;

	if (!first)
		return false;
	first_at = line_at(s, first->key_line);
	col = (size_t)first->key_col - 1;
	if (!begins_line(s, first_at, first->key_col))
		return false;
	for (const struct hm_yaml *c = first->next; c; c = c->next)
		if (c->key_col != first->key_col)
			return false; /* {a: 1, b: 2} */
	if (old) {
		from = line_at(s, old->key_line);
		to = block_end(s, from, col);
	} else {
		from = to = block_end(s, first_at, col - 1);
		/* its lines are those indented like its first key, or deeper */
	}
	hm_buf_init(&b, text->max);
	hm_buf_put(&b, s.p, from);
	if (from && s.p[from - 1] != '\n')
		hm_buf_putc(&b, '\n');
	if (old && old == first) /* "- expect:" */
		hm_buf_put(&b, s.p + from, col);
	else
		pad(&b, col);
	hm_buf_lit(&b, "expect:\n");
	while (expect.len) {
		struct hm_str line;

		(void)hm_str_split(&expect, '\n', &line);
		if (line.len)
			pad(&b, col);
		hm_buf_puts(&b, line);
		hm_buf_putc(&b, '\n');
	}
	hm_buf_put(&b, s.p + to, s.len - to);
	ok = b.err == 0;
	if (ok) {
		hm_buf_reset(text);
		hm_buf_puts(text, hm_buf_str(&b));
	}
	hm_buf_fini(&b);
	return ok && text->err == 0;
}
