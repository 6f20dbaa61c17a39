/*
 * events.c - what listeners are told, as text/event-stream
 */
#include "inbox/live.h"

static void head(struct hm_buf *b, const char *event, const struct hm_inbox_counts *at)
{
	if (at != NULL)
		hm_buf_printf(b, "id: %llu.%llu\n", (unsigned long long)at->arrivals,
			      (unsigned long long)at->version);
	hm_buf_printf(b, "event: %s\ndata: {", event);
}

static void tail(struct hm_buf *b, const struct hm_inbox_counts *c)
{
	hm_buf_lit(b, "\"counts\":");
	hm_inbox_counts_json(c, b);
	hm_buf_printf(b, ",\"at\":\"%llu.%llu\"}\n\n", (unsigned long long)c->arrivals,
		      (unsigned long long)c->version);
}

/* "a b c" as a list of texts */
static void ids(struct hm_buf *b, const char *name, struct hm_str list)
{
	struct hm_str id;
	bool first = true;

	hm_buf_printf(b, "\"%s\":[", name);
	while (hm_str_split(&list, ' ', &id)) {
		hm_buf_puts(b, first ? HM_STR("\"") : HM_STR(",\""));
		hm_buf_json(b, id);
		hm_buf_putc(b, '"');
		first = false;
	}
	hm_buf_lit(b, "],");
}

/* A line of data holds no line ends; in JSON they are blanks. */
static void item(struct hm_buf *b, const struct hm_inbox_item *x)
{
	size_t from;

	hm_buf_lit(b, "\"item\":");
	from = b->len;
	hm_inbox_item_json(x, b);
	for (size_t i = from; i < b->len; i++)
		if (b->p[i] == '\n' || b->p[i] == '\r')
			b->p[i] = ' ';
	hm_buf_putc(b, ',');
}

void inbox_event_counts(struct hm_buf *b, const char *event, const struct hm_inbox_counts *c)
{
	head(b, event, c);
	tail(b, c);
}

void inbox_event_news(struct hm_buf *b, const struct hm_inbox_news *x)
{
	size_t from = b->len;

	if (x->reload) {
		inbox_event_counts(b, "reload", &x->counts);
		return;
	}
	head(b, x->arrival ? "item" : "changed", &x->counts);
	if (x->arrival) {
		item(b, &x->item);
		if (x->ids.len)
			ids(b, "gone", x->ids);
	} else {
		hm_buf_lit(b, "\"action\":\"");
		hm_buf_json(b, x->action);
		hm_buf_lit(b, "\",");
		ids(b, "ids", x->ids);
	}
	tail(b, &x->counts);
	if (b->err == 0 && b->len - from > INBOX_EVENT_MAX) {
		b->len = from;
		inbox_event_counts(b, "reload", &x->counts);
	}
}

void inbox_event_missed(struct hm_buf *b, const struct inbox_at *at, const struct hm_inbox_page *p)
{
	const struct hm_inbox_counts *c = &p->counts;
	size_t from = b->len;

	if (c->version == at->v && c->arrivals == at->n)
		return;
	if (c->version > at->v && c->version - at->v == c->arrivals - at->n && p->next == 0) {
		for (size_t i = 0; i < p->n; i++) {
			head(b, "item", i + 1 == p->n ? c : NULL);
			item(b, &p->v[i]);
			tail(b, c);
		}
		/* Arrivals that are gone already, by their expiry: only the numbers are left to tell. */
		if (p->n == 0)
			inbox_event_counts(b, "counts", c);
		if (b->err == 0 && b->len - from <= INBOX_EVENT_MAX)
			return;
		b->len = from;
		b->err = 0;
	}
	inbox_event_counts(b, "reload", c);
}
