/*
 * json.c - JSON text to msgpack bytes, in one pass and without a tree
 *
 * A container is opened with a one-byte header, because nearly all have at most 15
 * members; when it closes with more, the header grows and the content moves up.
 * Depth is limited, so a byte moves at most HM_JSON_MAX_DEPTH times.
 */
#include "base/json.h"

#include <stdlib.h>
#include <yajl/yajl_parse.h>

/* -- memory for yajl: one block per thread, so that parsing a message mallocs nothing -- */

struct scratch {
	size_t used;
	_Alignas(16) char mem[8192];
};
static _Thread_local struct scratch scratch;

struct scratch_head {
	size_t size; /* of what follows */
	size_t pad;
};

static bool in_scratch(const struct scratch *s, const void *p)
{
	return (uintptr_t)p - (uintptr_t)s->mem < sizeof(s->mem);
}

static bool is_last(const struct scratch *s, const char *p, size_t size)
{
	return p + ((size + 15) & ~(size_t)15) == s->mem + s->used;
}

static void *scratch_malloc(void *ctx, size_t n)
{
	struct scratch *s = ctx;
	size_t need = sizeof(struct scratch_head) + ((n + 15) & ~(size_t)15);
	struct scratch_head *h;

	if (n > sizeof(s->mem) || need > sizeof(s->mem) - s->used)
		h = n < SIZE_MAX / 2 ? malloc(sizeof(*h) + n) : NULL;
	else {
		h = (struct scratch_head *)(void *)(s->mem + s->used);
		s->used += need;
	}
	if (h == NULL)
		return NULL;
	h->size = n;
	return h + 1;
}

static void scratch_free(void *ctx, void *p)
{
	struct scratch *s = ctx;
	struct scratch_head *h;

	if (p == NULL)
		return;
	h = (struct scratch_head *)p - 1;
	if (!in_scratch(s, h))
		free(h);
	else if (is_last(s, p, h->size))
		s->used = (size_t)((char *)h - s->mem);
}

static void *scratch_realloc(void *ctx, void *p, size_t n)
{
	struct scratch *s = ctx;
	struct scratch_head *h;
	void *q;

	if (p == NULL)
		return scratch_malloc(ctx, n);
	h = (struct scratch_head *)p - 1;
	if (n <= h->size)
		return p;
	if (!in_scratch(s, h)) {
		h = n < SIZE_MAX / 2 ? realloc(h, sizeof(*h) + n) : NULL;
		if (h == NULL)
			return NULL;
		h->size = n;
		return h + 1;
	}
	q = scratch_malloc(ctx, n);
	if (q)
		memcpy(q, p, h->size);
	return q;
}

/* -- SAX to msgpack -------------------------------------------------------- */

struct frame {
	size_t header; /* offset of the header byte in out */
	uint32_t n;    /* members so far */
	bool map;
};
struct parse {
	struct hm_buf *out;
	unsigned depth;
	struct frame stack[HM_JSON_MAX_DEPTH];
	int code; /* why a callback stopped the parser */
	const char *problem;
};

static int stop(struct parse *p, int code, const char *problem)
{
	p->code = code;
	p->problem = problem;
	return 0;
}

/* Counts one member; map members are counted by their key. */
static int member(struct parse *p)
{
	if (p->out->err)
		return stop(p, p->out->err,
			    p->out->err == HM_ELIMIT ? "the document is too large" : "out of memory");
	if (p->depth && !p->stack[p->depth - 1].map)
		p->stack[p->depth - 1].n++;
	return 1;
}

static int on_null(void *ctx)
{
	struct parse *p = ctx;

	hm_mp_put_nil(p->out);
	return member(p);
}

static int on_bool(void *ctx, int v)
{
	struct parse *p = ctx;

	hm_mp_put_bool(p->out, v != 0);
	return member(p);
}

static int on_number(void *ctx, const char *text, size_t len)
{
	struct parse *p = ctx;
	struct hm_str s = hm_str_n(text, len);
	uint64_t u;
	int64_t i;

	if (hm_str_u64(s, &u))
		hm_mp_put_u64(p->out, u);
	else if (hm_str_i64(s, &i))
		hm_mp_put_i64(p->out, i);
	else if (len > HM_DECIMAL_MAX)
		return stop(p, HM_ELIMIT, "a number has more than 128 characters");
	else
		hm_mp_put_decimal(p->out, s);
	return member(p);
}

static int on_string(void *ctx, const unsigned char *text, size_t len)
{
	struct parse *p = ctx;
	struct hm_str s = hm_str_n((const char *)text, len);

	/* The input was valid; only a \uDC00 escape without its partner can spoil it. */
	if (!hm_utf8_valid(s))
		return stop(p, HM_EPARSE, "a \\u escape stands for half of a surrogate pair");
	hm_mp_put_str(p->out, s);
	return member(p);
}

static int on_key(void *ctx, const unsigned char *text, size_t len)
{
	struct parse *p = ctx;

	p->stack[p->depth - 1].n++;
	return on_string(ctx, text, len);
}

static int open_container(struct parse *p, bool map)
{
	if (p->depth == HM_JSON_MAX_DEPTH)
		return stop(p, HM_ELIMIT, "values are nested deeper than 32 levels");
	if (!member(p))
		return 0;
	p->stack[p->depth++] = (struct frame){.header = p->out->len, .map = map};
	hm_buf_putc(p->out, 0);
	return 1;
}

static int on_start_map(void *ctx)
{
	return open_container(ctx, true);
}

static int on_start_array(void *ctx)
{
	return open_container(ctx, false);
}

static int on_end(void *ctx)
{
	struct parse *p = ctx;
	struct frame *f = &p->stack[--p->depth];
	size_t extra = f->n <= 15 ? 0 : f->n <= 0xffff ? 2 : 4;
	unsigned char *h;

	if (!hm_buf_reserve(p->out, extra))
		return stop(p, p->out->err,
			    p->out->err == HM_ELIMIT ? "the document is too large" : "out of memory");
	h = (unsigned char *)p->out->p + f->header;
	if (extra == 0) {
		h[0] = (unsigned char)((f->map ? 0x80 : 0x90) | f->n);
		return 1;
	}
	memmove(h + 1 + extra, h + 1, p->out->len - f->header - 1);
	p->out->len += extra;
	h[0] = (unsigned char)((f->map ? 0xde : 0xdc) + (extra == 4));
	for (size_t i = 0; i < extra; i++)
		h[1 + i] = (unsigned char)(f->n >> (8 * (extra - 1 - i)));
	return 1;
}

static void locate(struct hm_str json, size_t at, int *line_r, int *col_r)
{
	size_t start = 0;
	int line = 1;

	at = hm_min(at, json.len);
	for (size_t i = 0; i < at; i++)
		if (json.p[i] == '\n') {
			line++;
			start = i + 1;
		}
	*line_r = line;
	*col_r = (int)hm_min(hm_utf8_codepoints(hm_str_n(json.p + start, at - start)),
			     (size_t)INT32_MAX - 1) +
		 1;
}

static int fail_at(struct hm_err *e, int code, struct hm_str json, size_t at, const char *text)
{
	int line, col;

	locate(json, at, &line, &col);
	hm_err_at(e, code, NULL, line, col, "line %d column %d: %s", line, col, text);
	return code;
}

static int report(yajl_handle h, yajl_status st, const struct parse *p, struct hm_str json, struct hm_err *e)
{
	size_t at = yajl_get_bytes_consumed(h);
	char text[160];
	unsigned char *raw;

	if (st == yajl_status_client_canceled || p->code)
		return fail_at(e, p->code, json, at ? at - 1 : 0, p->problem);
	raw = yajl_get_error(h, 0, NULL, 0);
	if (raw == NULL)
		return fail_at(e, HM_ENOMEM, json, at, "out of memory");
	/* "lexical error: invalid char in json text.\n" -> without the full stop and the line end */
	size_t n = strcspn((const char *)raw, "\n");

	while (n > 0 && raw[n - 1] == '.')
		n--;
	n = hm_min(n, sizeof(text) - 1);
	memcpy(text, raw, n);
	text[n] = '\0';
	yajl_free_error(h, raw);
	if (strstr(text, "premature EOF"))
		return fail_at(e, HM_EPARSE, json, json.len, "the JSON text ends too early");
	/* yajl stands before the bad character inside a token, and behind a token that is bad as a whole. */
	if (at && (strncmp(text, "lexical", 7) != 0 || strstr(text, "invalid char in json")))
		at--;
	return fail_at(e, HM_EPARSE, json, at, text);
}

int hm_json_to_msgpack(struct hm_str json, struct hm_buf *out, struct hm_err *e)
{
	static const yajl_callbacks callbacks = {
		.yajl_null = on_null,
		.yajl_boolean = on_bool,
		.yajl_number = on_number,
		.yajl_string = on_string,
		.yajl_start_map = on_start_map,
		.yajl_map_key = on_key,
		.yajl_end_map = on_end,
		.yajl_start_array = on_start_array,
		.yajl_end_array = on_end,
	};
	yajl_alloc_funcs alloc = {scratch_malloc, scratch_realloc, scratch_free, &scratch};
	struct parse p = {.out = out};
	size_t start = out->len, valid;
	yajl_status st;
	yajl_handle h;
	int rc = 0;

	valid = hm_utf8_valid_prefix(json);
	if (valid != json.len)
		return fail_at(e, HM_EPARSE, json, valid, "the text is not valid UTF-8");
	scratch.used = 0;
	h = yajl_alloc(&callbacks, &alloc, &p);
	if (h == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	yajl_config(h, yajl_dont_validate_strings, 1); /* done above, and more strictly */
	st = yajl_parse(h, (const unsigned char *)json.p, json.len);
	if (st == yajl_status_ok)
		st = yajl_complete_parse(h);
	if (st != yajl_status_ok)
		rc = report(h, st, &p, json, e);
	else if (out->err)
		rc = hm_err_set(e, out->err, "the document is too large");
	yajl_free(h);
	if (rc < 0)
		out->len = start;
	return rc;
}
