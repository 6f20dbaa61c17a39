/*
 * err.c - filling, wrapping and printing struct hm_err
 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

/* Texts are cut at a whole character so that they stay valid UTF-8 in logs and answers. */
static void cut(char *out, size_t cap, int would)
{
	size_t n = cap - 1, lead = n, len;

	if (would < 0 || (size_t)would < cap)
		return;
	while (lead > 0 && n - lead < 3 && ((unsigned char)out[lead - 1] & 0xc0) == 0x80)
		lead--;
	if (lead == 0 || (unsigned char)out[lead - 1] < 0xc0)
		return;
	lead--;
	if (hm_utf8_decode(hm_str_n(out + lead, n - lead), &len) == 0xfffd && len == 1)
		out[lead] = '\0'; /* only the beginning of a character was left */
}

static void copy(char *out, size_t cap, const char *s)
{
	cut(out, cap, snprintf(out, cap, "%s", s ? s : ""));
}

void hm_err_clear(struct hm_err *e)
{
	if (e == NULL)
		return;
	e->code = 0;
	e->text[0] = e->file[0] = e->field[0] = '\0';
	e->line = e->col = 0;
}

static void set(struct hm_err *e, int code, const char *file, int line, int col, const char *fmt, va_list ap)
{
	hm_err_clear(e);
	e->code = code;
	cut(e->text, sizeof(e->text), vsnprintf(e->text, sizeof(e->text), fmt, ap));
	copy(e->file, sizeof(e->file), file);
	e->line = line;
	e->col = col;
}

int hm_err_set(struct hm_err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (e) {
		va_start(ap, fmt);
		set(e, code, NULL, 0, 0, fmt, ap);
		va_end(ap);
	}
	return code;
}

int hm_err_at(struct hm_err *e, int code, const char *file, int line, int col, const char *fmt, ...)
{
	va_list ap;

	if (e) {
		va_start(ap, fmt);
		set(e, code, file, line, col, fmt, ap);
		va_end(ap);
	}
	return code;
}

int hm_err_wrap(struct hm_err *e, const char *fmt, ...)
{
	char old[sizeof(e->text)], context[sizeof(e->text)];
	va_list ap;

	if (e == NULL)
		return HM_EINVAL; /* the caller kept no error, so there is no code to pass on */
	memcpy(old, e->text, sizeof(old));
	va_start(ap, fmt);
	cut(context, sizeof(context), vsnprintf(context, sizeof(context), fmt, ap));
	va_end(ap);
	cut(e->text, sizeof(e->text), snprintf(e->text, sizeof(e->text), "%s: %s", context, old));
	return e->code;
}

void hm_err_field(struct hm_err *e, const char *field)
{
	if (e)
		copy(e->field, sizeof(e->field), field);
}

size_t hm_err_format(const struct hm_err *e, char *out, size_t cap)
{
	int n;

	if (cap == 0)
		return 0;
	if (e->file[0] == '\0')
		n = snprintf(out, cap, "%s", e->text);
	else if (e->line == 0)
		n = snprintf(out, cap, "%s: %s", e->file, e->text);
	else if (e->col == 0)
		n = snprintf(out, cap, "%s:%d: %s", e->file, e->line, e->text);
	else
		n = snprintf(out, cap, "%s:%d:%d: %s", e->file, e->line, e->col, e->text);
	cut(out, cap, n);
	return strlen(out);
}

void hm_err_keep_first(void *arg, const struct hm_err *e)
{
	struct hm_err *first = arg;

	if (first->code == 0)
		*first = *e;
}

const char *hm_err_name(int code)
{
	switch (code) {
	case 0: return "OK";
#define HM_ERR(name, value, http, text) \
	case value:                     \
		return #name;
#include "tbl/errors.h"
#undef HM_ERR
	default: return "E?";
	}
}

int hm_err_http(int code)
{
	switch (code) {
	case 0: return 200;
#define HM_ERR(name, value, http, text) \
	case value:                     \
		return http;
#include "tbl/errors.h"
#undef HM_ERR
	default: return 500;
	}
}
