/* escape.c - text into markup, as FreeMarker's HTML, XHTML and XML output formats do it; and markdown */
#include "adapt/rich.h"
#include "tmpl/put.h"
#include "tmpl/vm.h"

/* The character reference for a special c. */
static struct hm_str reference(unsigned char c, unsigned fmt)
{
	switch (c) {
	case '&': return HM_STR("&amp;");
	case '<': return HM_STR("&lt;");
	case '>': return HM_STR("&gt;");
	case '"': return HM_STR("&quot;");
	default: return fmt == FMT_XML ? HM_STR("&apos;") : HM_STR("&#39;");
	}
}

const uint8_t hm_markup_special[256] = {['&'] = 1, ['<'] = 1, ['>'] = 1, ['"'] = 1, ['\''] = 1};

void hm_escape_markup(struct hm_buf *out, unsigned fmt, struct hm_str s)
{
	if (fmt == FMT_MARKDOWN) {
		if (hm_rich_escape(s, out) != 0)
			hm_assert(out->err != 0); /* which whoever renders looks at */
		return;
	}
	for (;;) {
		size_t n = hm_markup_find(s);

		hm_put(out, s.p, n);
		if (n == s.len)
			return;
		hm_buf_puts(out, reference((unsigned char)s.p[n], fmt));
		s = hm_str_n(s.p + n + 1, s.len - n - 1);
	}
}

/* At most one backslash in front of each byte. */
static int escape_markdown(struct hm_vm *vm, struct hm_str s, struct hm_str *r)
{
	struct hm_buf b = {.cap = 2 * s.len + 2, .max = 2 * s.len + 2};

	b.p = hm_vm_alloc(vm, b.cap);
	if (!b.p)
		return vm->rc;
	if (hm_rich_escape(s, &b) != 0)
		return hm_vm_fail(vm, b.err, "the text is too long to be escaped");
	*r = hm_str_n(b.p, b.len);
	return 0;
}

int hm_escape_text(struct hm_vm *vm, unsigned fmt, struct hm_str s, struct hm_str *r)
{
	struct hm_text t = {.vm = vm};
	size_t n;

	if (fmt == FMT_MARKDOWN)
		return escape_markdown(vm, s, r);
	n = hm_markup_find(s);
	if (n == s.len) {
		*r = s;
		return 0;
	}
	for (;;) {
		if (!hm_text_put(&t, hm_str_n(s.p, n)))
			return vm->rc;
		if (n == s.len)
			break;
		if (!hm_text_put(&t, reference((unsigned char)s.p[n], fmt)))
			return vm->rc;
		s = hm_str_n(s.p + n + 1, s.len - n - 1);
		n = hm_markup_find(s);
	}
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
