/*
 * Any bytes as a text in each notation, written in every dialect; and the bytes as a value in a template. The first
 * byte picks the notation. Nodes are well nested and in order, what is written is text without control
 * characters (UTF-8 when the source is), a value stays the text it is, and the way it is cut into links holds.
 */
#include <stdlib.h>

#include "adapt/dialect.h"

static void check_list(const struct hm_rich *r)
{
	uint8_t open[HM_RICH_MAX_DEPTH + 2];
	size_t depth = 0;

	for (size_t i = 0; i < r->n; i++) {
		const struct hm_rich_node *n = &r->v[i];
		bool block = n->kind == HM_RICH_HEADING || n->kind == HM_RICH_ITEM, first = i == 0,
		     last = i + 1 == r->n;

		hm_assert(r->kinds & 1u << n->kind);
		switch ((enum hm_rich_kind)n->kind) {
		case HM_RICH_TEXT:
			hm_assert(n->text.len && (first || r->v[i - 1].kind != HM_RICH_TEXT));
			for (size_t k = 0; k < n->text.len; k++) {
				unsigned char c = (unsigned char)n->text.p[k];

				hm_assert((c >= 0x20 || c == '\t') && c != 0x7f);
			}
			break;
		case HM_RICH_PARA:
			hm_assert(depth == 0 && !first && !last && r->v[i - 1].kind != HM_RICH_PARA);
			break;
		case HM_RICH_BREAK: break;
		case HM_RICH_CODE: hm_assert(n->text.len && hm_str_chr(n->text, '\n') < 0); break;
		case HM_RICH_IMAGE: hm_assert(hm_rich_url_ok(n->text)); break;
		case HM_RICH_LINK:
			hm_assert(n->close || hm_rich_url_ok(n->text));
			/* fallthrough */
		case HM_RICH_BOLD:
		case HM_RICH_ITALIC:
		case HM_RICH_HEADING:
		case HM_RICH_ITEM:
			if (n->close) {
				hm_assert(depth && open[depth - 1] == n->kind);
				depth--;
				break;
			}
			hm_assert(depth < hm_countof(open));
			for (size_t k = 0; k < depth; k++)
				hm_assert(open[k] != n->kind);
			hm_assert(!block || depth == 0);
			hm_assert(n->kind != HM_RICH_HEADING || (n->n >= 1 && n->n <= 6));
			hm_assert(n->kind != HM_RICH_ITEM || n->depth < HM_RICH_MAX_DEPTH);
			open[depth++] = n->kind;
			break;
		}
	}
	hm_assert(depth == 0);
}

static void check_out(struct hm_str s, bool utf8)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		hm_assert((c >= 0x20 || c == '\n' || c == '\t') && c != 0x7f);
	}
	hm_assert(!utf8 || hm_utf8_valid(s));
}

static int wrap(void *arg, struct hm_str url, uint32_t n, struct hm_buf *out, struct hm_err *e)
{
	hm_assert(n == (*(uint32_t *)arg)++ && hm_rich_url_ok(url));
	if (n % 3)
		hm_buf_printf(out, "https://t.example/%u?a&b", n);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hm_str text = hm_str_n((const char *)data + 1, size - 1);
	struct hm_arena arena;
	struct hm_buf out;
	struct hm_rich r;
	struct hm_err e;
	uint32_t links = 0;
	const struct hm_link_wrap w = {wrap, &links};
	bool utf8, raw;

	if (size < 1 || size > 1 << 16)
		return 0;
	utf8 = hm_utf8_valid(text);
	hm_arena_init(&arena, NULL, 64 << 20);
	hm_buf_init(&out, 16 << 20);
	if (hm_rich_parse(text, (enum hm_text_format)(data[0] % 3), &arena, &r, &e) == 0) {
		check_list(&r);
		raw = r.html.p != NULL;
		for (size_t pass = 0; pass < 2; pass++) {
			links = 0;
			for (size_t i = 0; hm_dialect_at(i); i++) {
				const char *name = hm_dialect_name(hm_dialect_at(i));

				hm_buf_reset(&out);
				hm_assert(hm_dialect_write(hm_dialect_at(i), &r, &out) == 0);
				if (!raw ||
				    !hm_str_starts(hm_str_c(name),
						   HM_STR("html"))) /* an author's HTML goes out as it is */
					check_out(hm_buf_str(&out), utf8);
			}
			if (!(r.kinds & 1u << HM_RICH_LINK) || hm_rich_wrap_links(&r, &w, &arena, &e))
				break;
			check_list(&r);
		}
	}
	/* as a value */
	for (size_t i = 0; hm_dialect_at(i); i++) {
		hm_buf_reset(&out);
		hm_assert(hm_dialect_escape(hm_dialect_at(i), text, &out) == 0);
		check_out(hm_buf_str(&out), utf8);
	}
	hm_buf_reset(&out);
	hm_assert(hm_rich_escape(text, &out) == 0);
	hm_arena_reset(&arena);
	if (hm_rich_parse(hm_buf_str(&out), HM_TEXT_MARKDOWN, &arena, &r, &e) == 0) {
		size_t at = 0;

		for (size_t i = 0; i < r.n; i++) {
			hm_assert(r.v[i].kind == HM_RICH_TEXT || r.v[i].kind == HM_RICH_BREAK);
			for (size_t k = 0; k < (r.v[i].kind == HM_RICH_TEXT ? r.v[i].text.len : 1); at++) {
				unsigned char c = (unsigned char)text.p[at];

				if (c == '\r' || c == '\n') {
					hm_assert(r.v[i].kind == HM_RICH_BREAK);
					at += c == '\r' && at + 1 < text.len && text.p[at + 1] == '\n';
					k++;
				} else if (c == 0xc2 && at + 1 < text.len &&
					   (uint8_t)text.p[at + 1] >= 0x80 &&
					   (uint8_t)text.p[at + 1] < 0xa0) {
					at++;
				} else if ((c >= 0x20 || c == '\t') && c != 0x7f) {
					hm_assert(r.v[i].kind == HM_RICH_TEXT &&
						  (uint8_t)r.v[i].text.p[k] == c);
					k++;
				}
			}
		}
		for (; at < text.len; at++) { /* only what cannot be seen is left */
			unsigned char c = (unsigned char)text.p[at];

			if (c == 0xc2 && at + 1 < text.len && (uint8_t)text.p[at + 1] >= 0x80 &&
			    (uint8_t)text.p[at + 1] < 0xa0)
				at++;
			else
				hm_assert((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f);
		}
	}
	hm_buf_fini(&out);
	hm_arena_fini(&arena);
	return 0;
}
