/* builtins_esc.c - ?html ?js_string ?url ... and markup values */
#include "tmpl/vm.h"

#define ARGS struct hm_vm *vm, const struct hm_val *v, unsigned nargs, unsigned b, struct hm_val *r

/* Markup that needs the escaping no more passes, where ?html and its kin are allowed at all (<#noautoesc>). */
static bool passes(struct hm_val v, unsigned fmt)
{
	return v.kind == V_MARKUP && (v.u.markup->fmt == FMT_HTML || v.u.markup->fmt == FMT_XHTML ||
				      (v.u.markup->fmt == FMT_XML && fmt == FMT_XML));
}

static int markup(struct hm_vm *vm, const struct hm_val *v, unsigned fmt, struct hm_val *r)
{
	struct hm_str s;
	int rc;

	if (passes(v[0], fmt)) {
		*r = v[0];
		return 0;
	}
	rc = hm_v_text(vm, v[0], &s);

	if (rc == 0)
		rc = hm_escape_text(vm, fmt, s, &s);
	if (rc == 0)
		*r = hm_vstr(s);
	return rc;
}

int hm_bi_html(ARGS)
{
	return markup(vm, v, FMT_HTML, r);
}

int hm_bi_xhtml(ARGS)
{
	return markup(vm, v, FMT_XHTML, r);
}

int hm_bi_xml(ARGS)
{
	return markup(vm, v, FMT_XML, r);
}

/* -- ?js_string, ?json_string ---------------------------------------------------------- */

static bool put_code(struct hm_text *t, uint32_t cp, bool json)
{
	static const char hex[] = "0123456789ABCDEF";
	char s[6] = {'\\', 'u', hex[cp >> 12 & 15], hex[cp >> 8 & 15], hex[cp >> 4 & 15], hex[cp & 15]};

	if (json || cp > 0xFF)
		return hm_text_put(t, hm_str_n(s, 6));
	s[1] = 'x';
	s[2] = s[4];
	s[3] = s[5];
	return hm_text_put(t, hm_str_n(s, 4));
}

/* Characters that could end or open a <script>, a comment or CDATA, where they stand */
static bool dangerous(struct hm_str s, size_t i)
{
	char c = s.p[i], prev = i > 0 ? s.p[i - 1] : 0, before = i > 1 ? s.p[i - 2] : 0;

	switch (c) {
	case '/': return i == 0 || prev == '<';
	case '>':
		if (i == 0)
			return true;
		return (prev == ']' || prev == '-') && (i == 1 || before == prev);
	case '<': return i + 1 == s.len || s.p[i + 1] == '!' || s.p[i + 1] == '?';
	default: return false;
	}
}

static int script_string(struct hm_vm *vm, const struct hm_val *v, bool json, struct hm_val *r)
{
	static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
	struct hm_text t = {.vm = vm};
	struct hm_str s;
	size_t i, n, run = 0;
	int rc = hm_v_text(vm, v[0], &s);

	if (rc)
		return rc;
	for (i = 0; i < s.len; i += n) {
		uint32_t cp = hm_utf8_decode(hm_str_n(s.p + i, s.len - i), &n);
		const char *short_form = cp < 0x80 && cp > 0 ? strchr(from, (int)cp) : NULL;
		bool code = cp < 0x20 || (cp >= 0x7F && cp <= 0x9F) || cp == 0x2028 || cp == 0x2029;
		bool danger = cp < 0x80 && dangerous(s, i), ok;

		if (!short_form && !code && !danger && !(cp == '\'' && !json))
			continue;
		ok = hm_text_put(&t, hm_str_n(s.p + run, i - run));
		if (short_form)
			ok = ok && hm_text_putc(&t, '\\') && hm_text_putc(&t, to[short_form - from]);
		else if (cp == '\'' || cp == '/' || (cp == '>' && !json))
			ok = ok && hm_text_putc(&t, '\\') && hm_text_putc(&t, (char)cp);
		else
			ok = ok && put_code(&t, cp, json);
		if (!ok)
			return vm->rc;
		run = i + n;
	}
	if (!hm_text_put(&t, hm_str_n(s.p + run, s.len - run)))
		return vm->rc;
	*r = hm_text_val(&t);
	return 0;
}

int hm_bi_js_string(ARGS)
{
	return script_string(vm, v, false, r);
}

int hm_bi_json_string(ARGS)
{
	return script_string(vm, v, true, r);
}

/* -- ?url, ?url_path -------------------------------------------------------------------------- */

static int url(struct hm_vm *vm, const struct hm_val *v, unsigned nargs, bool path, struct hm_val *r)
{
	static const char hex[] = "0123456789ABCDEF", safe[] = "!'()*-._~";
	struct hm_text t = {.vm = vm};
	struct hm_str s, charset;
	int rc = hm_v_text(vm, v[0], &s);

	if (rc == 0 && nargs > 0) {
		rc = hm_v_string_arg(vm, v[1], &charset);
		if (rc == 0 && !hm_str_ieq(charset, HM_STR("UTF-8")) && !hm_str_ieq(charset, HM_STR("utf8")))
			return hm_vm_fail(vm, HM_EINVAL, "only UTF-8 is supported, not \"%.*s\"",
					  HM_STRF(charset));
	}
	for (size_t i = 0; rc == 0 && i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    (c && strchr(safe, c)) || (path && c == '/')) {
			if (!hm_text_putc(&t, (char)c))
				return vm->rc;
			continue;
		}
		if (!hm_text_putc(&t, '%') || !hm_text_putc(&t, hex[c >> 4]) ||
		    !hm_text_putc(&t, hex[c & 15]))
			return vm->rc;
	}
	*r = hm_text_val(&t);
	return rc;
}

int hm_bi_url(ARGS)
{
	return url(vm, v, nargs, false, r);
}

int hm_bi_url_path(ARGS)
{
	return url(vm, v, nargs, true, r);
}

/* -- markup values; b: the output format ------------------------------------------------------------ */

static int to_markup(struct hm_vm *vm, const struct hm_val *v, unsigned fmt, bool plain, struct hm_val *r)
{
	struct hm_str s;
	int rc;

	if (v[0].kind == V_MARKUP) {
		const struct hm_markup *m = v[0].u.markup;

		if (m->fmt == fmt) {
			*r = v[0];
			return 0;
		}
		if (!m->plain)
			return hm_vm_fail(vm, HM_EINVAL,
					  "markup of one format cannot be made markup of another");
		return hm_v_markup(vm, fmt, true, m->text, r);
	}
	rc = hm_v_text(vm, v[0], &s);
	return rc ? rc : hm_v_markup(vm, fmt, plain, s, r);
}

int hm_bi_esc(ARGS)
{
	return to_markup(vm, v, b, true, r);
}

int hm_bi_no_esc(ARGS)
{
	return to_markup(vm, v, b, false, r);
}

int hm_bi_markup_string(ARGS)
{
	struct hm_str s;
	int rc;

	if (v[0].kind != V_MARKUP)
		return hm_vm_wrong(vm, v[0], "markup");
	rc = hm_markup_text(vm, v[0].u.markup, &s);
	if (rc == 0)
		*r = hm_vstr(s);
	return rc;
}
