/*
 * texts_report.c - what a build did to the texts, in sentences for people who preview a message
 *
 * Nothing here runs when nobody asked for a report.
 */
#include "adapter/texts.h"

#include <stdarg.h>
#include <stdio.h>

#include "adapt/breaks.h"

#define SHOWN 60 /* bytes of a URL or text inside a sentence */

static void warn(struct hm_eval *ev, const char *fmt, ...) HM_PRINTF(2, 3);
static void warn(struct hm_eval *ev, const char *fmt, ...)
{
	struct hm_build_report *r = ev->texts->report;
	char text[400];
	struct hm_str s;
	va_list ap;
	int n;

	if (r->n_warnings == HM_BUILD_WARNINGS)
		return;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s = hm_str_n(text, hm_min((size_t)hm_max(n, 0), sizeof(text) - 1));
	s = hm_arena_str(ev->a, hm_str_n(s.p, hm_utf8_cut(s, s.len)));
	if (s.p)
		r->warning[r->n_warnings++] = s;
}

static struct hm_str shown(struct hm_eval *ev, struct hm_str s)
{
	return hm_cut(s, SHOWN, HM_UNIT_BYTES, HM_STR("\xe2\x80\xa6"), ev->a);
}

void hm_texts_note(struct hm_texts *t, enum hm_var field, const struct hm_build_field *f)
{
	struct hm_build_report *r = t->report;
	struct hm_str name = hm_str_c(hm_var_name(field));
	size_t i = 0;

	while (i < r->n_fields && !hm_str_eq(r->field[i].name, name))
		i++;
	if (i == HM_BUILD_FIELDS)
		return;
	/* A later row that had nothing to do does not hide what an earlier one did. */
	if (i < r->n_fields && f->action == HM_FIT_WHOLE && r->field[i].action != HM_FIT_WHOLE)
		return;
	r->field[i] = *f;
	r->field[i].name = name;
	r->n_fields = hm_max(r->n_fields, i + 1);
}

/* Fields that are sent and no limit speaks of. */
static void note_rest(struct hm_eval *ev)
{
	static const enum hm_var fields[] = {HM_VAR_TITLE, HM_VAR_BODY, HM_VAR_TEXT, HM_VAR_HTML,
					     HM_VAR_SHORT, HM_VAR_URL,	HM_VAR_IMAGE};
	struct hm_texts *t = ev->texts;
	uint64_t used = t->c->ad->names.used;

	for (size_t k = 0; k < hm_countof(fields); k++) {
		enum hm_var v = fields[k];
		struct hm_str s = v == HM_VAR_HTML   ? t->html
				  : v <= HM_VAR_TEXT ? (&ev->title)[v]
						     : HM_STR("");
		bool sent = v < ev->n_ready || (t->done >> v & 1);
		size_t i = 0, n;

		if (!(used >> v & 1) || !sent || s.len == 0)
			continue;
		while (i < t->report->n_fields && !hm_str_is(t->report->field[i].name, hm_var_name(v)))
			i++;
		if (i < t->report->n_fields)
			continue;
		n = hm_units(s, HM_UNIT_CHARS);
		hm_texts_note(
			t, v,
			&(struct hm_build_field){.before = n, .after = n, .unit = HM_UNIT_CHARS, .parts = 1});
	}
}

static void say_fields(struct hm_eval *ev)
{
	const struct hm_build_report *r = ev->texts->report;

	for (size_t i = 0; i < r->n_fields; i++) {
		const struct hm_build_field *f = &r->field[i];
		const char *unit = hm_unit_name(f->unit);

		switch (f->action) {
		case HM_FIT_WHOLE: break;
		case HM_FIT_CUT:
			warn(ev, "%.*s: cut at %zu of %zu %s", HM_STRF(f->name), f->after, f->before, unit);
			break;
		case HM_FIT_SPLIT:
			warn(ev, "%.*s: %u messages, as %zu %s are more than the %zu of one",
			     HM_STRF(f->name), f->parts, f->before, unit, f->max);
			break;
		case HM_FIT_SHORT:
			warn(ev, "%.*s: the short text stands in for %zu %s, at most %zu are allowed",
			     HM_STRF(f->name), f->before, unit, f->max);
			break;
		}
	}
}

static bool emoji(uint32_t cp)
{
	return (cp >= 0x1f000 && cp <= 0x1faff) || (cp >= 0x2600 && cp <= 0x27bf) ||
	       (cp >= 0x2b00 && cp <= 0x2bff);
}

/* Worth a word when a few signs cost much: not for a text in Chinese. */
static void say_sms(struct hm_eval *ev, struct hm_str s)
{
	struct hm_texts *t = ev->texts;
	struct hm_sms *m = &t->report->sms_size;
	size_t all = 0, foreign = 0, n;
	const char *what;

	t->report->sms = true;
	hm_sms_measure(s, m);
	if (!m->ucs2)
		return;
	for (size_t i = 0; i < s.len; i += n, all++)
		foreign += hm_gsm_septets(hm_utf8_decode(hm_str_n(s.p + i, s.len - i), &n)) == 0;
	if (foreign * 4 > all)
		return;
	what = emoji(hm_utf8_decode(m->forced, &n)) ? "emoji" : "character";
	if (m->segments > m->segments_gsm)
		warn(ev, "%s %.*s forces UCS-2: %u segments instead of %u", what, HM_STRF(m->forced),
		     m->segments, m->segments_gsm);
	else
		warn(ev, "%s %.*s forces UCS-2: %u characters fit into a segment instead of %u", what,
		     HM_STRF(m->forced), m->segments > 1 ? 67 : 70, m->segments > 1 ? 153 : 160);
}

static void say_links(struct hm_eval *ev, const struct hm_rich *r)
{
	const struct hm_texts *t = ev->texts;

	for (size_t i = 0; i < r->n; i++) {
		const struct hm_rich_node *n = &r->v[i];

		if (n->kind == HM_RICH_LINK && !n->close && !t->c->ad->links)
			warn(ev, "links are not allowed here: \"%.*s\" is %s", HM_STRF(shown(ev, n->text)),
			     n->bare ? "sent as text" : "left out");
		if (n->kind == HM_RICH_IMAGE && !t->c->ad->images)
			warn(ev, "images are not shown here: \"%.*s\" is %s",
			     HM_STRF(shown(ev, n->alt.len ? n->alt : n->text)),
			     n->alt.len ? "sent as text" : "left out");
		else if (n->kind == HM_RICH_IMAGE && !(hm_dialect_shows(t->dialect) >> HM_RICH_IMAGE & 1) &&
			 !(t->c->ad->names.used >> HM_VAR_HTML & 1))
			warn(ev, "images are not shown here: \"%.*s\" is sent as a link",
			     HM_STRF(shown(ev, n->text)));
	}
}

/* Nothing is markup in plain text, but phones and filters find addresses all the same. */
static void say_plain_links(struct hm_eval *ev, struct hm_str s)
{
	for (ptrdiff_t at; (at = hm_str_find(s, HM_STR("://"))) >= 0;) {
		size_t from = (size_t)at, to = (size_t)at + 3;

		while (from && ((s.p[from - 1] | 0x20) >= 'a' && (s.p[from - 1] | 0x20) <= 'z'))
			from--;
		while (to < s.len && (unsigned char)s.p[to] > ' ' && (unsigned char)s.p[to] < 0x7f &&
		       !strchr("<>\"'", s.p[to]))
			to++;
		while (to > (size_t)at + 3 && strchr(".,;:!?)", s.p[to - 1]))
			to--;
		if (from < (size_t)at && to > (size_t)at + 3)
			warn(ev, "links are not allowed here: \"%.*s\" is sent as text",
			     HM_STRF(shown(ev, hm_str_n(s.p + from, to - from))));
		s = hm_str_n(s.p + to, s.len - to);
	}
}

/* Such a target is not made a link; where it is only a value of the payload it goes out as it is. */
static void say_bad_address(struct hm_eval *ev, enum hm_var v, struct hm_str url)
{
	if (url.len != 0 && !hm_rich_url_ok(url))
		warn(ev, "%s: \"%.*s\" is no address of a link", hm_var_name(v), HM_STRF(shown(ev, url)));
}

static void say_buttons(struct hm_eval *ev, const msgpack_object *o)
{
	for (uint32_t i = 0; o && o->type == MSGPACK_OBJECT_ARRAY && i < o->via.array.size; i++) {
		struct hm_val b = hm_val_of_object(&o->via.array.ptr[i]),
			      url = hm_val_get(&b, HM_STR("url"), ev->a);

		say_bad_address(ev, HM_VAR_BUTTONS, hm_val_text(&url, ev->a));
	}
}

static void not_shown(struct hm_eval *ev, bool given, enum hm_place_of place, enum hm_var v)
{
	bool used = ev->texts->c->ad->names.used >> v & 1;

	if (given && place != HM_PLACE_BODY && (place == HM_PLACE_NONE || !used))
		warn(ev, "%s %s not shown by this medium", hm_var_name(v),
		     v == HM_VAR_BUTTONS ? "are" : "is");
}

void hm_texts_report(struct hm_eval *ev, size_t payload, size_t payload_max)
{
	const struct hm_content *content = ev->in->content;
	struct hm_texts *t = ev->texts;
	const struct hm_rich *r;
	struct hm_str sms;

	t->report->dialect = hm_str_c(hm_dialect_name(t->dialect));
	t->report->payload = payload;
	t->report->payload_max = payload_max;
	note_rest(ev);
	say_fields(ev);
	sms = t->c->ad->names.used >> HM_VAR_BODY & 1 ? ev->body : ev->text;
	if (t->c->ad->sms && sms.len)
		say_sms(ev, t->beside.len
				    ? hm_arena_printf(ev->a, "%.*s%.*s", HM_STRF(sms), HM_STRF(t->beside))
				    : sms);
	if (content->format == HM_TEXT_PLAIN && !t->c->ad->links)
		say_plain_links(ev, content->body);
	else if (content->format != HM_TEXT_PLAIN && (r = hm_texts_source(ev)) != NULL)
		say_links(ev, r);
	not_shown(ev, content->title.len != 0, t->place[HM_PLACED_TITLE], HM_VAR_TITLE);
	not_shown(ev, content->url.len != 0, t->place[HM_PLACED_URL], HM_VAR_URL);
	not_shown(ev, content->image.len != 0, HM_PLACE_SEPARATE, HM_VAR_IMAGE);
	not_shown(ev,
		  content->buttons != NULL && content->buttons->type == MSGPACK_OBJECT_ARRAY &&
			  content->buttons->via.array.size != 0,
		  t->place[HM_PLACED_BUTTONS], HM_VAR_BUTTONS);
	say_bad_address(ev, HM_VAR_URL, content->url);
	say_bad_address(ev, HM_VAR_IMAGE, content->image);
	say_buttons(ev, content->buttons);
}
