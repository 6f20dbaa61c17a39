/*
 * dkim.c - DKIM signatures, relaxed/relaxed
 */
#include "mail/dkim.h"

#include <openssl/evp.h>

#define MAX_FIELDS 32
#define INPUT_MAX  (256u << 10) /* of the signed header fields */

static const char *const usual[] = {"from",
				    "to",
				    "reply-to",
				    "subject",
				    "date",
				    "message-id",
				    "mime-version",
				    "content-type",
				    "content-transfer-encoding",
				    "list-id",
				    "list-unsubscribe",
				    "list-unsubscribe-post",
				    NULL};
/* Named once more than they occur: adding another breaks the signature. */
static const char *const oversigned[] = {"from", "to", "subject", "date", "message-id"};

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

/* -- canonical forms (RFC 6376 section 3.4) ------------------------------------------- */

/* One line of the body: runs of blanks become one, those at the end go. Returns how much was given to the digest. */
static void relaxed_line(EVP_MD_CTX *md, struct hm_str line)
{
	size_t start = 0;

	while (line.len && blank(line.p[line.len - 1]))
		line.len--;
	for (size_t i = 0; i < line.len; i++) {
		if (!blank(line.p[i]))
			continue;
		EVP_DigestUpdate(md, line.p + start, i - start);
		EVP_DigestUpdate(md, " ", 1);
		while (i + 1 < line.len && blank(line.p[i + 1]))
			i++;
		start = i + 1;
	}
	EVP_DigestUpdate(md, line.p + start, line.len - start);
}

void hm_dkim_body_hash(struct hm_str body, uint8_t out[32])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	size_t empty = 0; /* lines that may be the end */

	hm_assert(md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1);
	while (body.len) {
		ptrdiff_t lf = hm_str_chr(body, '\n');
		size_t n = lf < 0 ? body.len : (size_t)lf;
		struct hm_str line = hm_str_n(body.p, n), rest;

		if (line.len && line.p[line.len - 1] == '\r')
			line.len--;
		body = lf < 0 ? HM_STR("") : hm_str_n(body.p + n + 1, body.len - n - 1);
		rest = line;
		while (rest.len && blank(rest.p[rest.len - 1]))
			rest.len--;
		if (rest.len == 0) {
			empty++;
			continue;
		}
		for (; empty > 0; empty--)
			EVP_DigestUpdate(md, "\r\n", 2);
		relaxed_line(md, line);
		EVP_DigestUpdate(md, "\r\n", 2);
	}
	EVP_DigestFinal_ex(md, out, NULL);
	EVP_MD_CTX_free(md);
}

void hm_dkim_relaxed(struct hm_buf *out, struct hm_str name, struct hm_str value)
{
	bool space = false;

	for (size_t i = 0; i < name.len; i++)
		if (!blank(name.p[i]))
			hm_buf_putc(out, name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] | 0x20)
									      : name.p[i]);
	hm_buf_putc(out, ':');
	value = hm_str_trim(value);
	for (size_t i = 0; i < value.len; i++) {
		char c = value.p[i];

		if (c == '\r' || c == '\n')
			continue;
		if (blank(c)) {
			space = true;
			continue;
		}
		if (space)
			hm_buf_putc(out, ' ');
		space = false;
		hm_buf_putc(out, c);
	}
}

/* -- header fields ------------------------------------------------------------------------ */

struct field {
	struct hm_str name, value;
	bool used;
};

/* The fields of a message, with their folds, from top to bottom; *body_r is what follows the empty line. */
static size_t split(struct hm_str m, struct field *v, size_t cap, struct hm_str *body_r)
{
	size_t n = 0, at = 0;

	*body_r = HM_STR("");
	while (at < m.len) {
		size_t end = at, colon = at;

		if (hm_str_starts(hm_str_n(m.p + at, m.len - at), HM_STR("\r\n"))) {
			*body_r = hm_str_n(m.p + at + 2, m.len - at - 2);
			break;
		}
		for (;;) { /* to the line end that no blank follows */
			while (end < m.len && m.p[end] != '\n')
				end++;
			end += end < m.len;
			if (end >= m.len || !blank(m.p[end]))
				break;
		}
		while (colon < end && m.p[colon] != ':')
			colon++;
		if (colon < end && n < cap)
			v[n++] = (struct field){.name = hm_str_n(m.p + at, colon - at),
						.value = hm_str_n(m.p + colon + 1, end - colon - 1)};
		at = end;
	}
	return n;
}

/* Bottom-up, each instance once (section 5.4.2); NULL when there is none left. */
static struct field *take(struct field *v, size_t n, const char *name)
{
	for (size_t i = n; i > 0; i--) {
		if (!v[i - 1].used && hm_str_ieq(v[i - 1].name, hm_str_c(name))) {
			v[i - 1].used = true;
			return &v[i - 1];
		}
	}
	return NULL;
}

static void signed_field(struct hm_buf *list, struct hm_buf *input, const char *name, const struct field *f)
{
	if (list->len)
		hm_buf_putc(list, ':');
	hm_buf_puts(list, hm_str_c(name));
	if (f == NULL)
		return; /* named without being there: counts as empty */
	hm_dkim_relaxed(input, f->name, f->value);
	hm_buf_lit(input, "\r\n");
}

/* -- the signature --------------------------------------------------------------------------- */

static void wrapped(struct hm_buf *out, const char *tag, struct hm_str text)
{
	hm_buf_printf(out, "\r\n\t%s", tag);
	for (size_t i = 0; i < text.len; i += 70) {
		if (i > 0)
			hm_buf_lit(out, "\r\n\t ");
		hm_buf_put(out, text.p + i, text.len - i < 70 ? text.len - i : 70);
	}
}

/* h= is folded at its colons. */
static void wrapped_list(struct hm_buf *out, struct hm_str list)
{
	size_t column = 3;

	hm_buf_lit(out, "\r\n\th=");
	while (list.len) {
		ptrdiff_t colon = hm_str_chr(list, ':');
		size_t n = colon < 0 ? list.len : (size_t)colon + 1;

		if (column + n > 74) {
			hm_buf_lit(out, "\r\n\t ");
			column = 2;
		}
		hm_buf_put(out, list.p, n);
		column += n;
		list = hm_str_n(list.p + n, list.len - n);
	}
	hm_buf_putc(out, ';');
}

int hm_dkim_sign(const struct hm_dkim *k, struct hm_str message, struct hm_buf *out, struct hm_err *e)
{
	const char *const *names = k->fields ? k->fields : usual;
	struct field v[256];
	struct hm_str body;
	size_t n = split(message, v, hm_countof(v), &body), start = out->len;
	uint8_t hash[32], digest[32];
	struct hm_buf list, input, sig, text;
	unsigned len = 0;
	int rc;

	hm_buf_init(&list, 4096);
	hm_buf_init(&input, INPUT_MAX);
	hm_buf_init(&sig, 4096);
	hm_buf_init(&text, 8192);
	for (size_t i = 0; names[i] != NULL && i < MAX_FIELDS; i++) {
		struct field *f;

		while ((f = take(v, n, names[i])) != NULL)
			signed_field(&list, &input, names[i], f);
		for (size_t o = 0; k->fields == NULL && o < hm_countof(oversigned); o++)
			if (strcmp(names[i], oversigned[o]) == 0)
				signed_field(&list, &input, names[i], NULL);
	}
	hm_dkim_body_hash(body, hash);
	hm_buf_base64(&text, hash, sizeof(hash));
	hm_buf_printf(out, "DKIM-Signature: v=1; a=%s; c=relaxed/relaxed;\r\n\td=%.*s; s=%.*s;",
		      k->ed25519 ? "ed25519-sha256" : "rsa-sha256", HM_STRF(k->domain), HM_STRF(k->selector));
	if (k->time_s)
		hm_buf_printf(out, " t=%llu;", (unsigned long long)k->time_s);
	if (k->expire_s)
		hm_buf_printf(out, " x=%llu;", (unsigned long long)k->expire_s);
	wrapped_list(out, hm_buf_str(&list));
	hm_buf_printf(out, "\r\n\tbh=%.*s;\r\n\tb=", HM_STRF(hm_buf_str(&text)));
	if (out->err == 0) /* itself, with an empty b=, without a line end */
		hm_dkim_relaxed(&input, HM_STR("DKIM-Signature"),
				hm_str_n(out->p + start + 15, out->len - start - 15));
	rc = out->err ? out->err : input.err ? input.err : list.err ? list.err : text.err;
	if (rc == 0 && EVP_Digest(input.p, input.len, digest, &len, EVP_sha256(), NULL) != 1)
		rc = HM_ENOMEM;
	if (rc != 0)
		hm_err_set(e, rc,
			   rc == HM_ENOMEM ? "out of memory" : "the header fields to sign are too large");
	else
		rc = k->sign(k->arg, hm_buf_str(&input), hm_str_n((const char *)digest, sizeof(digest)), &sig,
			     e);
	if (rc == 0) {
		hm_buf_reset(&text);
		hm_buf_base64(&text, sig.p, sig.len);
		out->len -= 2; /* b= again, with its text */
		out->len -= 3;
		wrapped(out, "b=", hm_buf_str(&text));
		hm_buf_lit(out, "\r\n");
		rc = out->err ? out->err : text.err;
		if (rc != 0)
			hm_err_set(e, rc, rc == HM_ENOMEM ? "out of memory" : "the mail grew too large");
	}
	hm_buf_fini(&list);
	hm_buf_fini(&input);
	hm_buf_fini(&sig);
	hm_buf_fini(&text);
	return rc;
}
