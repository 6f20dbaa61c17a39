/*
 * canonical.c - signatures over a canonical request
 */
#include "adapter/canonical.h"

#include <stdlib.h>
#include <time.h>

#include "adapter/sign.h"

#define MAX_TEXT    (1u << 20)
#define MAX_SIGNED  64
#define BCE_SECONDS "1800"

static const struct dialect {
	const char *name, *label, *prefix, *terminator, *day, *chain, *date_header;
	char date;
	const char *token_header, *hash_header, *nonce_header, *signs, *sep;
	unsigned flags;
} dialects[HM_CANON_COUNT] = {
	{0},
#define HM_DIALECT(id, ...) {__VA_ARGS__},
#include "adapter/tbl_dialects.h"
#undef HM_DIALECT
};
static const char *const names[] = {
#define HM_DIALECT(id, text, ...) text,
#include "adapter/tbl_dialects.h"
#undef HM_DIALECT
	NULL};

enum hm_canon_scheme hm_canon_find(struct hm_str name)
{
	for (int i = 1; i < HM_CANON_COUNT; i++)
		if (hm_str_is(name, dialects[i].name))
			return (enum hm_canon_scheme)i;
	return HM_CANON_NONE;
}

const char *const *hm_canon_names(void)
{
	return names;
}

bool hm_canon_scoped(enum hm_canon_scheme s)
{
	return strchr(dialects[s].chain, 's') != NULL;
}

bool hm_canon_region(enum hm_canon_scheme s)
{
	return strchr(dialects[s].chain, 'r') != NULL;
}

/* -- pieces ------------------------------------------------------------------------- */

struct canon {
	const struct hm_canon_in *in;
	const struct dialect *d;
	struct hm_arena *a;
	struct hm_str date, day, scope, signed_names;
	struct hm_canon_header head[MAX_SIGNED]; /* to be signed, sorted */
	size_t n_head;
	bool full; /* there was no room for one */
	int rc;
};

static struct hm_str time_as(struct canon *c, const char *fmt)
{
	time_t t = (time_t)(c->in->wall_ms / 1000);
	char text[40];
	struct tm tm;

	return hm_arena_str(c->a, hm_str_n(text, strftime(text, sizeof(text), fmt, gmtime_r(&t, &tm))));
}

static struct hm_str date_of(struct canon *c)
{
	if (c->d->date == 'u')
		return hm_arena_printf(c->a, "%llu", (unsigned long long)(c->in->wall_ms / 1000));
	return time_as(c, c->d->date == 'b' ? "%Y%m%dT%H%M%SZ" : "%Y-%m-%dT%H:%M:%SZ");
}

static struct hm_str hex_of(struct canon *c, const uint8_t *p, size_t n)
{
	struct hm_buf b;

	hm_buf_init_arena(&b, c->a, 4 * HM_MD_MAX);
	hm_buf_hex(&b, p, n);
	if (n == 0 || b.err)
		c->rc = b.err ? b.err : HM_EINVAL;
	return hm_buf_str(&b);
}

static struct hm_str sha256(struct canon *c, struct hm_str s)
{
	uint8_t out[HM_MD_MAX];

	return hex_of(c, out, hm_digest(HM_MD_SHA256, s, out));
}

static const struct hm_canon_header *given(const struct hm_canon_in *in, const char *name)
{
	for (size_t i = 0; i < in->n_headers; i++)
		if (hm_str_is(in->headers[i].name, name))
			return &in->headers[i];
	return NULL;
}

/* -- headers --------------------------------------------------------------------------- */

static bool is_signed(const struct dialect *d, struct hm_str name)
{
	struct hm_str rest = hm_str_c(d->signs), word;

	if (hm_str_is(name, "content-type"))
		return !(d->flags & HM_CANON_PREFIX);
	while (hm_str_split(&rest, ' ', &word)) {
		if (hm_str_ends(word, HM_STR("*")) ? hm_str_starts(name, hm_str_n(word.p, word.len - 1))
						   : hm_str_eq(name, word))
			return true;
	}
	return false;
}

/* Trimmed, runs of blanks made one, in the dialect's clothes. */
static struct hm_str clean(struct canon *c, struct hm_str v)
{
	struct hm_buf b, enc;
	bool blank = false;

	v = hm_str_trim(v);
	hm_buf_init_arena(&b, c->a, MAX_TEXT);
	for (size_t i = 0; i < v.len; i++) {
		char ch = v.p[i];

		if (ch == ' ' && blank)
			continue;
		blank = ch == ' ';
		hm_buf_putc(&b,
			    c->d->flags & HM_CANON_LOWER && ch >= 'A' && ch <= 'Z' ? (char)(ch | 0x20) : ch);
	}
	if (c->d->flags & HM_CANON_PREFIX) {
		hm_buf_init_arena(&enc, c->a, MAX_TEXT);
		hm_buf_percent(&enc, hm_buf_str(&b));
		b = enc;
	}
	if (b.err)
		c->rc = b.err;
	return hm_buf_str(&b);
}

static void sign_header(struct canon *c, struct hm_str name, struct hm_str value)
{
	if (c->n_head == MAX_SIGNED)
		c->full = true;
	else
		c->head[c->n_head++] = (struct hm_canon_header){name, clean(c, value)};
}

static void add(struct canon *c, struct hm_canon_out *out, const char *name, struct hm_str value)
{
	struct hm_canon_header *h;

	if (name == NULL || value.len == 0 || given(c->in, name))
		return;
	h = &out->add[out->n++];
	*h = (struct hm_canon_header){hm_str_c(name), value};
	if (is_signed(c->d, h->name))
		sign_header(c, h->name, h->value);
}

static int by_name(const void *a, const void *b)
{
	return hm_str_cmp(((const struct hm_canon_header *)a)->name,
			  ((const struct hm_canon_header *)b)->name);
}

static void collect(struct canon *c, struct hm_canon_out *out)
{
	const struct hm_canon_in *in = c->in;
	const struct hm_canon_header *date = given(in, c->d->date_header);
	struct hm_buf b;

	c->date = date ? hm_str_trim(date->value) : date_of(c);
	sign_header(c, HM_STR("host"), in->host);
	for (size_t i = 0; i < in->n_headers; i++)
		if (is_signed(c->d, in->headers[i].name))
			sign_header(c, in->headers[i].name, in->headers[i].value);
	add(c, out, c->d->date_header, c->date);
	add(c, out, c->d->token_header, in->token);
	if (c->d->hash_header)
		add(c, out, c->d->hash_header, sha256(c, in->body));
	add(c, out, c->d->nonce_header, in->nonce);
	qsort(c->head, c->n_head, sizeof(c->head[0]), by_name);
	hm_buf_init_arena(&b, c->a, MAX_TEXT);
	for (size_t i = 0; i < c->n_head; i++) {
		if (i)
			hm_buf_putc(&b, ';');
		hm_buf_puts(&b, c->head[i].name);
	}
	c->signed_names = hm_buf_str(&b);
}

/* -- the canonical request ------------------------------------------------------------------ */

static void put_path(struct canon *c, struct hm_str path, struct hm_buf *b)
{
	if (path.len == 0)
		path = HM_STR("/");
	if (c->d->flags & HM_CANON_TWICE) {
		for (size_t i = 0, n; i <= path.len; i += n + 1) {
			for (n = 0; i + n < path.len && path.p[i + n] != '/'; n++)
				;
			if (i)
				hm_buf_putc(b, '/');
			hm_buf_percent(b, hm_str_n(path.p + i, n));
		}
	} else {
		hm_buf_puts(b, path);
	}
	if (c->d->flags & HM_CANON_SLASH && !hm_str_ends(path, HM_STR("/")))
		hm_buf_putc(b, '/');
}

static int by_text(const void *a, const void *b)
{
	return hm_str_cmp(*(const struct hm_str *)a, *(const struct hm_str *)b);
}

/* Sorted by name, then value, as they are encoded: "=" sorts before what a longer name goes on with only when it is made to. */
static void put_query(struct canon *c, struct hm_str query, struct hm_buf *b)
{
	struct hm_str *v, rest = query, part;
	size_t n = 0, count = 1;

	for (size_t i = 0; i < query.len; i++)
		count += query.p[i] == '&';
	v = hm_arena_alloc(c->a, count * sizeof(*v));
	if (v == NULL) {
		c->rc = HM_ENOMEM;
		return;
	}
	while (query.len && n < count && hm_str_split(&rest, '&', &part)) {
		ptrdiff_t eq = hm_str_chr(part, '=');
		char *p = hm_arena_alloc(c->a, part.len + 2);

		if (p == NULL) {
			c->rc = HM_ENOMEM;
			return;
		}
		memcpy(p, part.p, part.len);
		if (eq < 0)
			p[part.len] = '=';
		p[eq < 0 ? part.len : (size_t)eq] = '\x01'; /* sorts before every character of a name */
		v[n++] = hm_str_n(p, part.len + (eq < 0));
	}
	qsort(v, n, sizeof(*v), by_text);
	for (size_t i = 0; i < n; i++) {
		ptrdiff_t eq = hm_str_chr(v[i], '\x01');

		if (i)
			hm_buf_putc(b, '&');
		hm_buf_put(b, v[i].p, (size_t)eq);
		hm_buf_putc(b, '=');
		hm_buf_put(b, v[i].p + eq + 1, v[i].len - (size_t)eq - 1);
	}
}

static struct hm_str request_text(struct canon *c)
{
	struct hm_str target = c->in->target, query = HM_STR("");
	ptrdiff_t mark = hm_str_chr(target, '?');
	struct hm_buf b;

	if (mark >= 0) {
		query = hm_str_n(target.p + mark + 1, target.len - (size_t)mark - 1);
		target.len = (size_t)mark;
	}
	hm_buf_init_arena(&b, c->a, MAX_TEXT);
	hm_buf_puts(&b, c->in->method);
	hm_buf_putc(&b, '\n');
	put_path(c, target, &b);
	hm_buf_putc(&b, '\n');
	put_query(c, query, &b);
	hm_buf_putc(&b, '\n');
	for (size_t i = 0; i < c->n_head; i++) {
		hm_buf_puts(&b, c->head[i].name);
		hm_buf_putc(&b, ':');
		hm_buf_puts(&b, c->head[i].value);
		if (!(c->d->flags & HM_CANON_PREFIX) || i + 1 < c->n_head)
			hm_buf_putc(&b, '\n');
	}
	if (!(c->d->flags & HM_CANON_PREFIX)) {
		hm_buf_putc(&b, '\n');
		hm_buf_puts(&b, c->signed_names);
		hm_buf_putc(&b, '\n');
		hm_buf_puts(&b, sha256(c, c->in->body));
	}
	if (b.err)
		c->rc = b.err;
	return hm_buf_str(&b);
}

/* -- key, signature --------------------------------------------------------------------------- */

static struct hm_str link_of(const struct canon *c, char letter)
{
	switch (letter) {
	case 'd': return c->day;
	case 'r': return c->in->region;
	case 's': return c->in->service;
	default: return hm_str_c(c->d->terminator);
	}
}

/* The scope is the chain, joined. */
static struct hm_str scope_of(struct canon *c)
{
	struct hm_buf b;

	hm_buf_init_arena(&b, c->a, MAX_TEXT);
	for (const char *p = c->d->chain; *p; p++) {
		if (b.len)
			hm_buf_putc(&b, '/');
		hm_buf_puts(&b, link_of(c, *p));
	}
	return hm_buf_str(&b);
}

static struct hm_str hmac(struct canon *c, struct hm_str key, struct hm_str text, uint8_t out[HM_MD_MAX])
{
	size_t n = hm_hmac(HM_MD_SHA256, key, 0, text, out);

	if (n == 0)
		c->rc = HM_EINVAL;
	return hm_str_n((const char *)out, n);
}

static struct hm_str signature(struct canon *c, struct hm_str text)
{
	struct hm_str key = hm_arena_printf(c->a, "%s%.*s", c->d->prefix, HM_STRF(c->in->secret));
	uint8_t out[2][HM_MD_MAX];
	int i = 0;

	for (const char *p = c->d->chain; *p; p++, i ^= 1)
		key = hmac(c, key, link_of(c, *p), out[i]);
	key = hmac(c, key, text, out[i]);
	return hex_of(c, (const uint8_t *)key.p, key.len);
}

static struct hm_str to_sign(struct canon *c, struct hm_str request)
{
	struct hm_buf b;

	hm_buf_init_arena(&b, c->a, MAX_TEXT);
	hm_buf_printf(&b, "%s\n", c->d->label);
	if (!(c->d->flags & HM_CANON_NO_DATE))
		hm_buf_printf(&b, "%.*s\n", HM_STRF(c->date));
	if (c->scope.len)
		hm_buf_printf(&b, "%.*s\n", HM_STRF(c->scope));
	hm_buf_puts(&b, sha256(c, request));
	if (b.err)
		c->rc = b.err;
	return hm_buf_str(&b);
}

static struct hm_str authorization(struct canon *c, struct hm_str sig)
{
	const struct dialect *d = c->d;

	return hm_arena_printf(c->a, "%s %s=%.*s%s%.*s%sSignedHeaders=%.*s%sSignature=%.*s", d->label,
			       d->flags & HM_CANON_ACCESS ? "Access" : "Credential", HM_STRF(c->in->id),
			       c->scope.len ? "/" : "", HM_STRF(c->scope), d->sep, HM_STRF(c->signed_names),
			       d->sep, HM_STRF(sig));
}

/* The key is made for a prefix that says who, when and for how long; its hex text is the key. */
static struct hm_str bce(struct canon *c, struct hm_canon_out *out)
{
	struct hm_str prefix = hm_arena_printf(c->a, "%s/%.*s/%.*s/%s", c->d->label, HM_STRF(c->in->id),
					       HM_STRF(c->date), BCE_SECONDS);
	uint8_t mac[HM_MD_MAX];
	struct hm_str key = hmac(c, c->in->secret, prefix, mac);

	key = hex_of(c, (const uint8_t *)key.p, key.len);
	out->to_sign = out->request;
	key = hmac(c, key, out->to_sign, mac);
	key = hex_of(c, (const uint8_t *)key.p, key.len);
	return hm_arena_printf(c->a, "%.*s/%.*s/%.*s", HM_STRF(prefix), HM_STRF(c->signed_names),
			       HM_STRF(key));
}

int hm_canon_sign(const struct hm_canon_in *in, struct hm_arena *a, struct hm_canon_out *out,
		  struct hm_err *e)
{
	struct canon c = {.in = in, .d = &dialects[in->scheme], .a = a};
	struct hm_str auth;

	hm_assert(in->scheme > HM_CANON_NONE && in->scheme < HM_CANON_COUNT);
	memset(out, 0, sizeof(*out));
	collect(&c, out);
	if (c.full)
		return hm_err_set(e, HM_ELIMIT, "more than %d headers would be signed", MAX_SIGNED);
	/* The day is the date's own, also where the file has written the header. */
	if (c.d->date == 'b' && c.date.len >= 8)
		c.day = hm_str_n(c.date.p, 8);
	else
		c.day = time_as(&c, c.d->day);
	c.scope = scope_of(&c);
	out->request = request_text(&c);
	if (c.d->flags & HM_CANON_PREFIX) {
		auth = bce(&c, out);
	} else {
		out->to_sign = to_sign(&c, out->request);
		auth = authorization(&c, signature(&c, out->to_sign));
	}
	if (c.rc != 0 || auth.p == NULL)
		return hm_err_set(e, c.rc ? c.rc : HM_ENOMEM, "the request cannot be signed");
	out->add[out->n++] = (struct hm_canon_header){HM_STR("authorization"), auth};
	return 0;
}
