/*
 * dialect_html.c - nodes as HTML: paragraphs, lists inside lists, and the document of a mail
 *
 * The HTML of an author goes out as it came (rich.h, hm_rich.html); a whole document of theirs is not wrapped
 * again. The document is made for the readers of mail: no style sheet (some drop it), no width in pixels, no
 * language of ours; the size of letters is the reader's choice but for a floor phones respect.
 */
#include "adapt/dialect_int.h"

static void end_p(struct hm_writer *w)
{
	hm_write_end_line(w);
	if (w->in_p)
		hm_buf_lit(w->out, "</p>");
	w->in_p = false;
	w->fresh = true;
	w->space = false;
	w->line = w->out->len;
}

static void end_list(struct hm_writer *w)
{
	w->nlists--;
	hm_buf_puts(w->out, w->lists[w->nlists].numbered ? HM_STR("</li></ol>") : HM_STR("</li></ul>"));
}

static void end_lists(struct hm_writer *w, uint32_t keep)
{
	while (w->nlists > keep)
		end_list(w);
	w->line = w->out->len;
}

static void start_list(struct hm_writer *w, uint32_t n)
{
	w->lists[w->nlists].numbered = n != 0;
	w->lists[w->nlists++].next = n + 1;
	if (n > 1)
		hm_buf_printf(w->out, "<ol start=\"%u\"><li>", n);
	else
		hm_buf_puts(w->out, n ? HM_STR("<ol><li>") : HM_STR("<ul><li>"));
}

static void item(struct hm_writer *w, const struct hm_rich_node *n)
{
	uint32_t depth = hm_min((uint32_t)n->depth, HM_RICH_MAX_DEPTH - 1u);

	if (n->close) {
		hm_write_end_line(w);
	} else {
		end_p(w);
		end_lists(w, depth + 1);
		if (w->nlists == depth + 1 && w->lists[depth].numbered != (n->n != 0))
			end_lists(w, depth);
		if (w->nlists == depth + 1) {
			if (n->n && n->n != w->lists[depth].next)
				hm_buf_printf(w->out, "</li><li value=\"%u\">", n->n);
			else
				hm_buf_lit(w->out, "</li><li>");
			w->lists[depth].next = n->n + 1;
		} else {
			start_list(w, n->n);
		}
	}
	w->fresh = true;
	w->space = false;
	w->line = w->out->len;
}

static void image(struct hm_writer *w, const struct hm_rich_node *n)
{
	hm_write_sync(w);
	hm_buf_lit(w->out, "<img src=\"");
	hm_write_url(w, n->text);
	hm_buf_lit(w->out, "\" alt=\"");
	hm_buf_html(w->out, n->alt);
	hm_buf_lit(w->out, "\"");
	if (w->d->flags & DOC)
		hm_buf_lit(w->out, " style=\"max-width:100%;height:auto;border:0\"");
	hm_buf_lit(w->out, ">");
}

static void nodes(struct hm_writer *w)
{
	bool p = !(w->d->flags & NO_P) ||
		 w->r->kinds & (1u << HM_RICH_PARA | 1u << HM_RICH_HEADING | 1u << HM_RICH_ITEM),
	     in_item = false;

	for (w->at = 0; w->at < w->r->n; w->at++) {
		const struct hm_rich_node *n = &w->r->v[w->at];

		switch (n->kind) {
		case HM_RICH_ITEM:
			item(w, n);
			in_item = !n->close;
			break;
		case HM_RICH_HEADING:
			if (!n->close) {
				end_p(w);
				end_lists(w, 0);
			} else {
				hm_write_end_line(w);
			}
			hm_buf_printf(w->out, n->close ? "</h%u>" : "<h%u>",
				      n->n >= 1 && n->n <= 6 ? n->n : 6);
			w->in_heading = !n->close;
			w->fresh = true;
			w->space = false;
			w->line = w->out->len;
			break;
		case HM_RICH_PARA:
			end_p(w);
			end_lists(w, 0);
			break;
		default:
			if (!in_item && !w->in_heading && !w->in_p) {
				end_lists(w, 0);
				if (p) {
					hm_buf_lit(w->out, "<p>");
					w->in_p = true;
				}
				w->fresh = true;
				w->line = w->out->len;
			}
			if (n->kind == HM_RICH_IMAGE &&
			    (w->d->image == IMAGE_TAG || hm_str_starts(n->text, HM_STR("mxc://"))))
				image(w, n);
			else
				hm_write_inline(w);
		}
	}
	end_p(w);
	end_lists(w, 0);
}

static bool whole_document(struct hm_str html)
{
	for (size_t i = 0; i < html.len && i < 4096; i++)
		if (html.p[i] == '<' &&
		    (hm_str_ieq(hm_str_n(html.p + i, hm_min(html.len - i, 5)), HM_STR("<html")) ||
		     hm_str_ieq(hm_str_n(html.p + i, hm_min(html.len - i, 9)), HM_STR("<!doctype"))))
			return true;
	return false;
}

void hm_write_blocks(struct hm_writer *w)
{
	bool raw = w->r->html.p && w->d->image == IMAGE_TAG;
	bool doc = w->d->flags & DOC && !(raw && whole_document(w->r->html));

	if (doc)
		hm_buf_lit(
			w->out,
			"<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n"
			"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n</head>\n"
			"<body style=\"margin:0;padding:16px;font-family:-apple-system,'Segoe "
			"UI',Roboto,'PingFang SC',"
			"'Microsoft "
			"YaHei',sans-serif;font-size:16px;line-height:1.6;word-break:break-word\">\n"
			"<div style=\"max-width:640px;margin:0 auto\">\n");
	if (raw)
		hm_buf_puts(w->out, w->r->html);
	else
		nodes(w);
	if (doc)
		hm_buf_lit(w->out, "\n</div>\n</body>\n</html>\n");
}
