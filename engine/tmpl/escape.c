/* escape.c - text into markup, as FreeMarker's HTML, XHTML and XML output formats do it */
#include "tmpl/vm.h"

/* The character reference for c, or NULL. */
static const char *reference(unsigned char c, unsigned fmt)
{
	switch (c) {
	case '&': return "&amp;";
	case '<': return "&lt;";
	case '>': return "&gt;";
	case '"': return "&quot;";
	case '\'': return fmt == FMT_XML ? "&apos;" : "&#39;";
	default: return NULL;
	}
}

/* 1: needs a look */
static const uint8_t special[256] = {['&'] = 1, ['<'] = 1, ['>'] = 1, ['"'] = 1, ['\''] = 1};

void hm_escape_markup(struct hm_buf *out, unsigned fmt, struct hm_str s)
{
	size_t run = 0;

	for (size_t i = 0; i < s.len; i++) {
		if (hm_likely(!special[(unsigned char)s.p[i]]))
			continue;
		if (i > run)
			hm_buf_put(out, s.p + run, i - run);
		hm_buf_puts(out, hm_str_c(reference((unsigned char)s.p[i], fmt)));
		run = i + 1;
	}
	if (s.len > run)
		hm_buf_put(out, s.p + run, s.len - run);
}

int hm_escape_text(struct hm_vm *vm, unsigned fmt, struct hm_str s, struct hm_str *r)
{
	struct hm_text t = {.vm = vm};
	size_t i, run = 0;

	for (i = 0; i < s.len && !special[(unsigned char)s.p[i]]; i++)
		;
	if (i == s.len) {
		*r = s;
		return 0;
	}
	for (; i < s.len; i++) {
		if (!special[(unsigned char)s.p[i]])
			continue;
		if (!hm_text_put(&t, hm_str_n(s.p + run, i - run)) ||
		    !hm_text_put(&t, hm_str_c(reference((unsigned char)s.p[i], fmt))))
			return vm->rc;
		run = i + 1;
	}
	if (!hm_text_put(&t, hm_str_n(s.p + run, s.len - run)))
		return vm->rc;
	*r = hm_str_n(t.p, t.len);
	return 0;
}

int hm_markup_text(struct hm_vm *vm, const struct hm_markup *m, struct hm_str *r)
{
	if (m->plain)
		return hm_escape_text(vm, m->fmt, m->text, r);
	*r = m->text;
	return 0;
}
