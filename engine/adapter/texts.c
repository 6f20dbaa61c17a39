/*
 * texts.c - one content, made to fit one medium
 */
#include "adapter/texts.h"

#define MAX_TEXT HM_VAL_MAX_TEXT
#define ELLIPSIS HM_STR("\xe2\x80\xa6")
/* Links of the body count from 0 when they are wrapped; these stand beside them. */
#define BUTTON_LINKS 1000u
#define URL_LINK     2000u

static bool given(const struct hm_str *s)
{
	return s->len != 0;
}

static uint32_t bit(enum hm_var v)
{
	return 1u << v;
}

static bool uses(const struct hm_texts *t, enum hm_var v)
{
	return t->c->ad->names.used >> v & 1;
}

static void forget_lets(struct hm_eval *ev)
{
	if (ev->n_lets)
		memset(ev->let_done, 0, ev->n_lets);
}

static void failed(struct hm_eval *ev, int rc, enum hm_var field)
{
	if (ev->rc)
		return;
	ev->rc = rc == HM_ENOMEM ? rc : HM_EINVAL;
	if (ev->err->text[0] == '\0')
		hm_err_set(ev->err, rc, "out of memory");
	if (rc != HM_ENOMEM) {
		hm_err_wrap(ev->err, "%s", hm_var_name(field));
		hm_err_field(ev->err, hm_var_name(field));
	}
}

/* -- rows of limits -------------------------------------------------------------------------- */

/* Does a row apply, and with which limit? */
static bool applies(struct hm_eval *ev, const struct hm_limit *lim, int64_t *max_r)
{
	struct hm_val v;

	if (lim->when) {
		v = hm_eval(ev, lim->when);
		if (!hm_val_true(&v))
			return false;
	}
	v = hm_eval(ev, lim->max);
	return hm_val_int_of(&v, max_r);
}

/* The next row about the field that applies, from *i on; false when there is none. */
static bool next_limit(struct hm_eval *ev, uint32_t *i, enum hm_var field, const struct hm_limit **lim_r,
		       int64_t *max_r)
{
	const struct hm_variant *form = ev->texts->form;

	while (*i < form->n_limits) {
		const struct hm_limit *lim = &form->limits[(*i)++];

		if (lim->field != field || !applies(ev, lim, max_r))
			continue;
		*lim_r = lim;
		return true;
	}
	return false;
}

static void note(struct hm_texts *t, enum hm_var field, const struct hm_limit *lim, int64_t max,
		 size_t before, size_t after, enum hm_fit_action action, uint32_t parts)
{
	if (t->report != NULL)
		hm_texts_note(t, field,
			      &(struct hm_build_field){.before = before,
						       .after = after,
						       .max = max > 0 ? (size_t)max : 0,
						       .unit = lim ? lim->unit : HM_UNIT_CHARS,
						       .action = action,
						       .parts = parts});
}

static int too_long(struct hm_eval *ev, enum hm_var field, size_t n, const struct hm_limit *lim, int64_t max)
{
	hm_err_set(ev->err, HM_ELIMIT, "%zu %s, at most %lld are allowed", n, hm_unit_name(lim->unit),
		   (long long)hm_max(max, (int64_t)0));
	failed(ev, HM_ELIMIT, field);
	return ev->rc;
}

/* Surely within the limit, without counting: no unit is smaller than a byte, and a part holds 66 of any. */
static bool surely_fits(enum hm_unit unit, size_t len, int64_t max)
{
	return max >= 0 &&
	       len <= (size_t)(unit == HM_UNIT_SEGMENTS ? hm_min(max, (int64_t)1 << 20) * 66 : max);
}

/* -- plain text for a plain medium -------------------------------------------------------------- */

static size_t units_with(struct hm_str s, struct hm_str beside, enum hm_unit unit)
{
	struct hm_meter m;

	hm_meter_init(&m, unit);
	hm_meter_add(&m, beside);
	hm_meter_add(&m, s);
	return hm_meter_units(&m);
}

/* A row of a field that is a plain string. Sets *rich_r when only nodes can do it. */
static int limit_string(struct hm_eval *ev, enum hm_var field, const struct hm_limit *lim, int64_t max,
			struct hm_str *s, bool *rich_r)
{
	struct hm_texts *t = ev->texts;
	struct hm_str beside = HM_STR("");
	size_t before, room;

	if (lim->beside) {
		struct hm_val v = hm_eval(ev, lim->beside);

		beside = hm_val_text(&v, ev->a);
		t->beside = beside;
	}
	if (surely_fits(lim->unit, s->len + beside.len, max) && t->report == NULL)
		return 0;
	before = units_with(*s, beside, lim->unit);
	room = max > 0 ? (size_t)max : 0;
	if (before <= room) {
		note(t, field, lim, max, before, before, HM_FIT_WHOLE, 1);
		return 0;
	}
	if (lim->over == HM_OVER_REFUSE)
		return too_long(ev, field, before, lim, max);
	if (lim->over != HM_OVER_CUT || (beside.len && lim->unit == HM_UNIT_SEGMENTS)) {
		*rich_r = true;
		return 0;
	}
	room -= hm_min(room, hm_units(beside, lim->unit));
	*s = hm_cut(*s, room, lim->unit, lim->mark, ev->a);
	note(t, field, lim, max, before, t->report ? units_with(*s, beside, lim->unit) : 0, HM_FIT_CUT, 1);
	forget_lets(ev); /* what was computed from the longer text must be computed again */
	return ev->rc;
}

_Static_assert(HM_VAR_TITLE == 0 && HM_VAR_URL == 1 && HM_VAR_IMAGE == 2 && HM_VAR_BODY == 3 &&
		       HM_VAR_SHORT == 4 && HM_VAR_TEXT == 5,
	       "struct hm_eval has its texts in the order of the variables");

static struct hm_str *ready_field(struct hm_eval *ev, enum hm_var v)
{
	return v <= HM_VAR_TEXT ? &(&ev->title)[v] : NULL;
}

/* All rows about strings, in their order. In a rich text those of body and its kin wait until they are asked for. */
static int limit_strings(struct hm_eval *ev)
{
	struct hm_texts *t = ev->texts;

	for (uint32_t i = 0; i < t->form->n_limits && ev->rc == 0; i++) {
		const struct hm_limit *lim = &t->form->limits[i];
		struct hm_str *s = ready_field(ev, lim->field);
		int64_t max;
		bool rich = false;

		if (s == NULL || s->len == 0 || (!t->plain && lim->field > HM_VAR_IMAGE) ||
		    !applies(ev, lim, &max))
			continue;
		if (limit_string(ev, lim->field, lim, max, s, &rich) != 0)
			break;
		if (rich && lim->field <= HM_VAR_IMAGE)
			return hm_err_set(ev->err, HM_EINVAL,
					  "%s: only body and text can stand beside something",
					  hm_var_name(lim->field));
		if (rich)
			t->plain = false;
	}
	return ev->rc;
}

/* -- before anything else --------------------------------------------------------------------------- */

static enum hm_place_of place_of(struct hm_eval *ev, const struct hm_variant *form, enum hm_placed i)
{
	struct hm_val v;
	int place;

	if (form->place[i] == NULL)
		return form->place_of[i];
	v = hm_eval_tpl(ev, form->place[i]);
	place = hm_place_find(hm_val_text(&v, ev->a));
	if (place < 0) {
		hm_eval_fail(ev, HM_EINVAL, "text: \"%.*s\": expected %s", HM_STRF(hm_val_text(&v, ev->a)),
			     hm_place_words);
		return HM_PLACE_NONE;
	}
	return (enum hm_place_of)place;
}

static struct hm_str wrapped(struct hm_eval *ev, struct hm_str url, uint32_t n)
{
	const struct hm_link_wrap *w = ev->in->content->wrap;
	struct hm_buf b;
	int rc;

	if (w == NULL || url.len == 0)
		return url;
	hm_buf_init_arena(&b, ev->a, 16 << 10);
	rc = w->wrap(w->arg, url, n, &b, ev->err);
	if (rc == 0)
		rc = b.err;
	if (rc != 0) {
		failed(ev, rc, HM_VAR_URL);
		return HM_STR("");
	}
	return b.len ? hm_buf_str(&b) : url;
}

static bool in_body(const struct hm_eval *ev, const struct hm_texts *t)
{
	const struct hm_content *c = ev->in->content;

	return (given(&c->title) && t->place[HM_PLACED_TITLE] == HM_PLACE_BODY) ||
	       (given(&c->url) && t->place[HM_PLACED_URL] == HM_PLACE_BODY) ||
	       (c->buttons && t->place[HM_PLACED_BUTTONS] == HM_PLACE_BODY);
}

int hm_texts_begin(struct hm_eval *ev, struct hm_texts *t, const struct hm_channel *c,
		   const struct hm_variant *form)
{
	const struct hm_content *content = ev->in->content;
	struct hm_val v;

	/* Member by member: most builds never touch the rest, which the flags guard. */
	t->c = c;
	t->form = form;
	t->dialect = form->dialect;
	t->report = ev->in->report;
	t->busy = t->done = 0;
	t->cap = 0;
	t->parts = 1;
	t->begun = t->parsed = t->composed = false;
	t->beside = t->html = HM_STR_NULL;
	memcpy(t->place, form->place_of, sizeof(t->place));
	ev->texts = t;
	ev->title = content->title;
	ev->url = content->url;
	ev->image = content->image;
	ev->body = ev->text = content->body;
	ev->short_text = content->short_text;
	ev->n_ready = HM_VAR_TEXT + 1;
	if (form->dialect_tpl) {
		v = hm_eval_tpl(ev, form->dialect_tpl);
		t->dialect = hm_dialect_find(hm_val_text(&v, ev->a));
		if (t->dialect == NULL)
			return ev->rc ? ev->rc
				      : hm_err_set(ev->err, HM_EINVAL, "there is no dialect \"%.*s\"",
						   HM_STRF(hm_val_text(&v, ev->a)));
	}
	if (form->places)
		for (int i = 0; i < HM_PLACED_COUNT; i++)
			t->place[i] = place_of(ev, form, (enum hm_placed)i);
	if (content->wrap)
		ev->url = wrapped(ev, ev->url, URL_LINK);
	t->plain = content->format == HM_TEXT_PLAIN && t->dialect == hm_dialect_plain() &&
		   (!form->into_body || !in_body(ev, t)) && hm_rich_clean(content->body) &&
		   hm_rich_clean(content->short_text);
	t->begun = true;
	if (ev->rc || (form->n_limits && limit_strings(ev) != 0))
		return ev->rc;
	if (!t->plain) {
		ev->n_ready = HM_VAR_IMAGE + 1;
		ev->body = ev->text = content->body;
		ev->short_text = content->short_text;
		forget_lets(ev);
	}
	return 0;
}

/* -- the content as nodes ------------------------------------------------------------------------------ */

const struct hm_rich *hm_texts_source(struct hm_eval *ev)
{
	const struct hm_content *content = ev->in->content;
	struct hm_texts *t = ev->texts;
	int rc = 0;

	if (!t->parsed) {
		rc = hm_rich_parse(content->body, content->format, ev->a, &t->source, ev->err);
		if (rc == 0 && content->wrap)
			rc = hm_rich_wrap_links(&t->source, content->wrap, ev->a, ev->err);
		if (rc != 0)
			failed(ev, rc, HM_VAR_BODY);
		t->parsed = true;
	}
	return ev->rc ? NULL : &t->source;
}

static struct hm_val objects(struct hm_eval *ev, size_t n, struct hm_val **v_r)
{
	*v_r = hm_arena_alloc(ev->a, n * sizeof(**v_r) + 1);
	if (*v_r == NULL)
		return hm_eval_fail(ev, HM_ENOMEM, "out of memory");
	return (struct hm_val){.t = HM_V_LIST, .list = *v_r};
}

/* {name: text, ...} without the empty ones. */
static struct hm_val object(struct hm_eval *ev, const char *const *names, const struct hm_str *texts,
			    size_t n)
{
	struct hm_pair *p = hm_arena_alloc(ev->a, n * sizeof(*p));
	uint32_t k = 0;

	if (p == NULL)
		return hm_eval_fail(ev, HM_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		if (texts[i].len)
			p[k++] = (struct hm_pair){.name = hm_str_c(names[i]), .v = hm_val_str(texts[i])};
	return (struct hm_val){.t = HM_V_MAP, .n = k, .map = p};
}

static struct hm_str link_text(struct hm_eval *ev, const struct hm_rich *r, size_t i)
{
	struct hm_buf b;

	hm_buf_init_arena(&b, ev->a, MAX_TEXT);
	for (i++; i < r->n && r->v[i].kind != HM_RICH_LINK; i++)
		if (r->v[i].kind == HM_RICH_TEXT || r->v[i].kind == HM_RICH_CODE)
			hm_buf_puts(&b, r->v[i].text);
		else if (r->v[i].kind == HM_RICH_BREAK)
			hm_buf_putc(&b, ' ');
	return hm_buf_str(&b);
}

static struct hm_val list_of(struct hm_eval *ev, enum hm_rich_kind kind)
{
	static const char *const names[] = {"text", "url"};
	const struct hm_rich *r = hm_texts_source(ev);
	struct hm_val list, *v;

	if (r == NULL || !(r->kinds >> kind & 1))
		return HM_NONE;
	list = objects(ev, r->n, &v);
	for (size_t i = 0; i < r->n && list.t == HM_V_LIST; i++) {
		const struct hm_rich_node *n = &r->v[i];
		struct hm_str texts[2] = {n->alt, n->text};

		if (n->kind != kind || n->close)
			continue;
		if (kind == HM_RICH_LINK)
			texts[0] = link_text(ev, r, i);
		v[list.n++] = object(ev, names, texts, 2);
	}
	return list;
}

static struct hm_val buttons(struct hm_eval *ev)
{
	static const char *const names[] = {"text", "url", "action", "style"};
	const msgpack_object *o = ev->in->content->buttons;
	struct hm_val list, *v;

	if (o == NULL || o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size == 0)
		return HM_NONE;
	list = objects(ev, o->via.array.size, &v);
	for (uint32_t i = 0; i < o->via.array.size && list.t == HM_V_LIST; i++) {
		struct hm_val b = hm_val_of_object(&o->via.array.ptr[i]), m;
		struct hm_str texts[4];

		for (size_t k = 0; k < hm_countof(names); k++) {
			m = hm_val_get(&b, hm_str_c(names[k]), ev->a);
			texts[k] = hm_val_text(&m, ev->a);
		}
		if (!hm_rich_url_ok(texts[1]))
			texts[1] = HM_STR(""); /* javascript: and the like */
		texts[1] = wrapped(ev, texts[1], BUTTON_LINKS + i);
		if (texts[0].len)
			v[list.n++] = object(ev, names, texts, 4);
	}
	return list;
}

struct nodes {
	struct hm_rich *r;
	size_t cap;
};

static void add(struct nodes *b, struct hm_rich_node n)
{
	if (b->r->n < b->cap) {
		b->r->v[b->r->n++] = n;
		b->r->kinds |= 1u << n.kind;
	}
}

/* Text of a line: what would break it becomes a blank. */
static void add_text(struct hm_eval *ev, struct nodes *b, struct hm_str s)
{
	char *p = NULL;

	for (size_t i = 0; i < s.len; i++) {
		if ((unsigned char)s.p[i] >= 0x20 && s.p[i] != 0x7f)
			continue;
		if (p == NULL) {
			p = hm_arena_alloc(ev->a, s.len);
			if (p == NULL) {
				hm_eval_fail(ev, HM_ENOMEM, "out of memory");
				return;
			}
			memcpy(p, s.p, s.len);
		}
		p[i] = ' ';
	}
	if (s.len)
		add(b, (struct hm_rich_node){.kind = HM_RICH_TEXT, .text = p ? hm_str_n(p, s.len) : s});
}

static void add_link(struct hm_eval *ev, struct nodes *b, struct hm_str text, struct hm_str url, bool links)
{
	bool bare = text.len == 0 || hm_str_eq(text, url);

	if (b->r->n)
		add(b, (struct hm_rich_node){.kind = HM_RICH_BREAK});
	if (!links || url.len == 0) {
		add_text(ev, b, text.len ? text : url);
		return;
	}
	add(b, (struct hm_rich_node){.kind = HM_RICH_LINK, .text = url, .bare = bare});
	add_text(ev, b, bare ? url : text);
	add(b, (struct hm_rich_node){.kind = HM_RICH_LINK, .close = true, .bare = bare});
}

static bool block(const struct hm_rich_node *n)
{
	return n->kind == HM_RICH_HEADING || n->kind == HM_RICH_ITEM;
}

static bool nodes_new(struct hm_eval *ev, struct hm_rich *r, struct nodes *b, size_t cap)
{
	*r = (struct hm_rich){.v = hm_arena_alloc(ev->a, (cap + 1) * sizeof(*r->v))};
	*b = (struct nodes){.r = r, .cap = cap};
	if (r->v == NULL)
		hm_eval_fail(ev, HM_ENOMEM, "out of memory");
	return r->v != NULL;
}

static void compose_tail(struct hm_eval *ev, struct hm_texts *t)
{
	struct hm_val v = t->place[HM_PLACED_BUTTONS] == HM_PLACE_BODY ? hm_texts_var(ev, HM_VAR_BUTTONS)
								       : HM_NONE;
	struct nodes b;

	if (!nodes_new(ev, &t->tail, &b, 4 * (hm_val_len(&v) + 1)))
		return;
	for (size_t i = 0; i < hm_val_len(&v); i++) {
		struct hm_val one = hm_val_at(&v, i, NULL, ev->a), text, url;

		text = hm_val_get(&one, HM_STR("text"), ev->a);
		url = hm_val_get(&one, HM_STR("url"), ev->a);
		if (url.t == HM_V_STR) /* an action of the app means nothing in a text */
			add_link(ev, &b, hm_val_text(&text, ev->a), url.s, t->c->ad->links);
	}
	if (given(&ev->url) && t->place[HM_PLACED_URL] == HM_PLACE_BODY) {
		v = t->form->link_text ? hm_eval_tpl(ev, t->form->link_text) : HM_NONE;
		add_link(ev, &b, hm_val_text(&v, ev->a), ev->url, t->c->ad->links && hm_rich_url_ok(ev->url));
	}
}

static bool bare_of(const struct hm_rich *s, enum hm_rich_kind kind)
{
	return !(s->kinds >> kind & 1);
}

/* Title, text, and what stands behind it. */
static bool compose(struct hm_eval *ev)
{
	struct hm_texts *t = ev->texts;
	const struct hm_rich *s = hm_texts_source(ev);
	const struct hm_adapter *ad = t->c->ad;
	bool titled = given(&ev->title) && t->place[HM_PLACED_TITLE] == HM_PLACE_BODY;
	struct nodes b;

	if (s == NULL || t->composed)
		return ev->rc == 0;
	t->composed = true;
	t->tail = (struct hm_rich){0};
	if (t->form->into_body)
		compose_tail(ev, t);
	if (!titled && (ad->links || bare_of(s, HM_RICH_LINK)) && (ad->images || bare_of(s, HM_RICH_IMAGE))) {
		t->text = *s;
		return ev->rc == 0;
	}
	if (!nodes_new(ev, &t->text, &b, s->n + 4))
		return false;
	if (titled) {
		add(&b, (struct hm_rich_node){.kind = HM_RICH_BOLD});
		add_text(ev, &b, ev->title);
		add(&b, (struct hm_rich_node){.kind = HM_RICH_BOLD, .close = true});
		if (s->n && !block(&s->v[0]))
			add(&b, (struct hm_rich_node){.kind = HM_RICH_BREAK});
	}
	for (size_t i = 0; i < s->n; i++) {
		const struct hm_rich_node *n = &s->v[i];

		if (n->kind == HM_RICH_LINK && !ad->links)
			continue;
		if (n->kind == HM_RICH_IMAGE && !ad->images)
			add_text(ev, &b, n->alt);
		else
			add(&b, *n);
	}
	return ev->rc == 0;
}

/* -- a field ------------------------------------------------------------------------------------------------ */

static bool exceeds(const struct hm_fit *fit, const struct hm_fit_limit *l)
{
	struct hm_meter m;

	for (uint32_t i = 0; i < fit->n; i++) {
		hm_meter_init(&m, l->unit);
		hm_meter_add(&m, l->beside);
		hm_meter_add(&m, fit->part[i]);
		if (hm_meter_units(&m) > l->max)
			return true;
	}
	return false;
}

/* The part that is wanted. */
static struct hm_str pick(struct hm_eval *ev, enum hm_var field, const struct hm_fit *fit,
			  const struct hm_limit *lim, int64_t max)
{
	struct hm_texts *t = ev->texts;

	if (fit->n > 1 && ev->in->parts_r == NULL) {
		hm_err_set(ev->err, HM_ELIMIT, "%zu %s, at most %lld are allowed in one message", fit->before,
			   hm_unit_name(lim->unit), (long long)max);
		failed(ev, HM_ELIMIT, field);
		return HM_STR("");
	}
	t->parts = hm_max(t->parts, fit->n);
	return ev->in->part < fit->n ? fit->part[ev->in->part] : HM_STR("");
}

static struct hm_str fit_nodes(struct hm_eval *ev, enum hm_var field, const struct hm_rich *r,
			       const struct hm_rich *tail, const struct hm_rich *shorter,
			       const struct hm_dialect *d)
{
	struct hm_texts *t = ev->texts;
	const struct hm_limit *lim = NULL, *acted = NULL;
	struct hm_fit fit, next;
	struct hm_fit_limit l = {.tail = tail && tail->n ? tail : NULL};
	int64_t max = 0, acted_max = 0;
	size_t before = 0;
	bool have = false;
	struct hm_val v;
	int rc = 0;

	for (uint32_t i = 0; ev->rc == 0 && rc == 0 && next_limit(ev, &i, field, &lim, &max);) {
		v = lim->beside ? hm_eval(ev, lim->beside) : HM_NONE;
		l.beside = hm_val_text(&v, ev->a);
		t->beside = l.beside;
		l.max = max > 0 ? (size_t)max : 0;
		l.unit = lim->unit;
		l.over = max > 0 ? lim->over : HM_OVER_CUT;
		l.mark = lim->mark;
		l.max_parts = lim->max_parts;
		l.numbered = lim->numbered;
		if (max <= 0 && lim->over == HM_OVER_REFUSE) {
			hm_err_set(ev->err, HM_ELIMIT, "there is no room left for it");
			rc = HM_ELIMIT;
		} else if (!have || max <= 0 || exceeds(&fit, &l)) {
			rc = hm_fit_rich(r, shorter, d, &l, ev->a, &next, ev->err);
			if (rc == 0 && max <= 0) {
				next.part[0] = HM_STR("");
				next.after = 0;
				next.action = HM_FIT_CUT;
			}
			if (acted == NULL || next.action != HM_FIT_WHOLE) {
				before = next.before;
				acted = lim;
				acted_max = max;
			}
			fit = next;
			have = true;
		}
	}
	if (rc == 0 && ev->rc == 0 && !have) {
		l.max = 0;
		l.unit = HM_UNIT_CHARS;
		rc = hm_fit_rich(r, NULL, d, &l, ev->a, &fit, ev->err);
		before = fit.before;
	}
	if (rc == 0 && ev->rc == 0 && t->cap && field == HM_VAR_BODY && fit.n == 1 &&
	    fit.part[0].len > t->cap) {
		l = (struct hm_fit_limit){.max = t->cap,
					  .unit = HM_UNIT_BYTES,
					  .over = HM_OVER_CUT,
					  .mark = ELLIPSIS,
					  .tail = l.tail};
		rc = hm_fit_rich(r, NULL, d, &l, ev->a, &fit, ev->err);
		if (rc == 0 && acted)
			fit.after = hm_units(fit.part[0], acted->unit);
		else
			before = fit.before;
		note(t, field, acted ? acted : &(struct hm_limit){.unit = HM_UNIT_BYTES}, acted_max, before,
		     fit.after, HM_FIT_CUT, 1);
	} else if (rc == 0 && ev->rc == 0) {
		note(t, field, acted, acted_max, before, fit.after, fit.action, fit.n);
	}
	if (rc != 0)
		failed(ev, rc, field);
	return ev->rc ? HM_STR("") : pick(ev, field, &fit, acted, acted_max);
}

static void parse_short(struct hm_eval *ev, struct hm_rich *r)
{
	const struct hm_content *content = ev->in->content;
	int rc = hm_rich_parse(content->short_text, content->format, ev->a, r, ev->err);

	if (rc == 0 && content->wrap)
		rc = hm_rich_wrap_links(r, content->wrap, ev->a, ev->err);
	if (rc != 0)
		failed(ev, rc, HM_VAR_SHORT);
}

/* -- html --------------------------------------------------------------------------------------------------------- */

/* A document of its own, with head and styles: not to be taken apart. */
static bool is_document(struct hm_str s)
{
	for (;;) {
		ptrdiff_t end;

		s = hm_str_trim(s);
		if (!hm_str_starts(s, HM_STR("<!--")))
			break;
		end = hm_str_find(s, HM_STR("-->"));
		if (end < 0)
			return false;
		s = hm_str_n(s.p + end + 3, s.len - (size_t)end - 3);
	}
	return (s.len > 9 && hm_str_ieq(hm_str_n(s.p, 9), HM_STR("<!doctype"))) ||
	       (s.len > 6 && hm_str_ieq(hm_str_n(s.p, 5), HM_STR("<html")));
}

static struct hm_str html_field(struct hm_eval *ev)
{
	const struct hm_dialect *d = hm_dialect_find(HM_STR("html-doc"));
	struct hm_texts *t = ev->texts;
	const struct hm_rich *s = hm_texts_source(ev);
	const struct hm_limit *lim;
	int64_t max;

	if (s == NULL || !compose(ev))
		return HM_STR("");
	/* What its author wrote in HTML goes out as it was written, unless something is to be put around it. */
	if (s->html.p == NULL || in_body(ev, t))
		return fit_nodes(ev, HM_VAR_HTML, &t->text, &t->tail, NULL, d);
	if (!is_document(s->html))
		return fit_nodes(ev, HM_VAR_HTML, s, NULL, NULL, d);
	for (uint32_t i = 0; ev->rc == 0 && next_limit(ev, &i, HM_VAR_HTML, &lim, &max);) {
		size_t n = hm_units(s->html, lim->unit);

		if (max < 0 || n > (size_t)max) /* a document cannot be cut */
			too_long(ev, HM_VAR_HTML, n, lim, max);
		else
			note(t, HM_VAR_HTML, lim, max, n, n, HM_FIT_WHOLE, 1);
	}
	return ev->rc ? HM_STR("") : s->html;
}

/* -- asked for ------------------------------------------------------------------------------------------------------- */

static struct hm_str as_given(struct hm_eval *ev, enum hm_var v)
{
	return v == HM_VAR_SHORT ? ev->in->content->short_text : ev->in->content->body;
}

/* Is the short text what takes this field's place when it is too long? */
static bool may_be_short(const struct hm_variant *form, enum hm_var v)
{
	for (uint32_t i = 0; i < form->n_limits; i++)
		if (form->limits[i].field == v && form->limits[i].over == HM_OVER_SHORT)
			return true;
	return false;
}

static struct hm_str made(struct hm_eval *ev, enum hm_var v)
{
	struct hm_texts *t = ev->texts;
	struct hm_rich shorter = {0};

	if (v == HM_VAR_HTML)
		return html_field(ev);
	if (given(&ev->in->content->short_text) && (v == HM_VAR_SHORT || may_be_short(t->form, v)))
		parse_short(ev, &shorter);
	if (ev->rc)
		return HM_STR("");
	if (v == HM_VAR_SHORT)
		return shorter.n ? fit_nodes(ev, v, &shorter, NULL, NULL, t->dialect) : HM_STR("");
	if (!compose(ev))
		return HM_STR("");
	return fit_nodes(ev, v, &t->text, &t->tail, shorter.n ? &shorter : NULL,
			 v == HM_VAR_TEXT ? hm_dialect_plain() : t->dialect);
}

static struct hm_str *slot(struct hm_eval *ev, enum hm_var v)
{
	return v == HM_VAR_HTML ? &ev->texts->html : ready_field(ev, v);
}

static struct hm_val field(struct hm_eval *ev, enum hm_var v)
{
	struct hm_texts *t = ev->texts;
	struct hm_str *s = slot(ev, v);

	if (v < ev->n_ready || (t->done & bit(v)))
		return hm_val_given(*s);
	if (t->busy & bit(v))
		return hm_val_given(as_given(ev, v));
	if (as_given(ev, v).len == 0 && !(in_body(ev, t) && v != HM_VAR_SHORT))
		return HM_NONE;
	t->busy |= bit(v);
	*s = made(ev, v);
	t->busy &= ~bit(v);
	t->done |= bit(v);
	forget_lets(ev); /* those that saw it as it was given */
	return hm_val_given(*s);
}

/* part and parts are known when the texts are. */
static void settle_parts(struct hm_eval *ev)
{
	const struct hm_variant *form = ev->texts->form;

	for (uint32_t i = 0; i < form->n_limits && ev->rc == 0; i++)
		if (form->limits[i].over == HM_OVER_SPLIT && uses(ev->texts, form->limits[i].field))
			(void)field(ev, form->limits[i].field);
}

struct hm_val hm_texts_var(struct hm_eval *ev, enum hm_var v)
{
	struct hm_texts *t = ev->texts;

	if (t == NULL || ev->rc)
		return HM_NONE;
	switch (v) {
	case HM_VAR_BODY:
	case HM_VAR_SHORT:
	case HM_VAR_TEXT:
	case HM_VAR_HTML: return field(ev, v);
	case HM_VAR_PART:
	case HM_VAR_PARTS:
		settle_parts(ev);
		return hm_val_int(v == HM_VAR_PART ? (int64_t)ev->in->part + 1 : (int64_t)t->parts);
	default: break;
	}
	if (!(t->done & bit(v))) {
		struct hm_val made_now = v == HM_VAR_BUTTONS ? buttons(ev)
					 : v == HM_VAR_LINKS ? list_of(ev, HM_RICH_LINK)
							     : list_of(ev, HM_RICH_IMAGE);

		*(v == HM_VAR_BUTTONS ? &t->buttons : v == HM_VAR_LINKS ? &t->links : &t->images) = made_now;
		t->done |= bit(v);
	}
	return v == HM_VAR_BUTTONS ? t->buttons : v == HM_VAR_LINKS ? t->links : t->images;
}

int hm_texts_parts(struct hm_eval *ev)
{
	struct hm_texts *t = ev->texts;

	settle_parts(ev);
	if (ev->rc)
		return ev->rc;
	if (ev->in->parts_r)
		*ev->in->parts_r = t->parts;
	if (ev->in->part >= t->parts)
		return ev->rc = hm_err_set(ev->err, HM_EINVAL, "there is no part %u, the text has %u",
					   ev->in->part + 1, t->parts);
	return 0;
}

/* -- plain texts of the adapter, in the dialect --------------------------------------------------------------------- */

struct hm_val hm_texts_write(struct hm_eval *ev, struct hm_str s, bool bold, struct hm_str url)
{
	const struct hm_dialect *d = ev->texts && ev->texts->begun ? ev->texts->dialect : hm_dialect_plain();
	struct hm_rich r;
	struct nodes b;
	struct hm_buf out;
	int rc;

	if (d == hm_dialect_plain() && url.len == 0)
		return hm_val_str(s);
	hm_buf_init_arena(&out, ev->a, MAX_TEXT);
	if (url.len && !(ev->texts && !ev->texts->c->ad->links) && hm_rich_url_ok(url)) {
		if (!nodes_new(ev, &r, &b, 3))
			return HM_NONE;
		add_link(ev, &b, s, url, true);
		rc = hm_dialect_write(d, &r, &out);
	} else if (bold && (hm_dialect_shows(d) >> HM_RICH_BOLD & 1)) {
		if (!nodes_new(ev, &r, &b, 3))
			return HM_NONE;
		add(&b, (struct hm_rich_node){.kind = HM_RICH_BOLD});
		add_text(ev, &b, s);
		add(&b, (struct hm_rich_node){.kind = HM_RICH_BOLD, .close = true});
		rc = hm_dialect_write(d, &r, &out);
	} else {
		rc = hm_dialect_escape(d, s, &out);
	}
	if (rc == 0)
		rc = out.err;
	if (rc)
		return hm_eval_fail(ev, rc, "a text grew over %u bytes", MAX_TEXT);
	return hm_val_str(hm_buf_str(&out));
}

/* -- a payload that is too large -------------------------------------------------------------------------------------- */

/* Bytes a byte of the text takes in the request, as near as matters: what is wrong is tried again. */
static size_t cost(unsigned char c, enum hm_body_kind kind)
{
	switch (kind) {
	case HM_BODY_JSON: return c == '"' || c == '\\' || c == '\n' || c == '\t' ? 2 : c < 0x20 ? 6 : 1;
	case HM_BODY_FORM: return c == ' ' || (c < 0x80 && (c >= '0' && c != '`')) ? 1 : 3;
	case HM_BODY_XML: return c == '<' || c == '>' || c == '&' ? 5 : 1;
	default: return 1;
	}
}

static size_t cost_of(struct hm_str s, enum hm_body_kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++)
		n += cost((unsigned char)s.p[i], kind);
	return n;
}

bool hm_texts_shrink(struct hm_eval *ev, size_t size, size_t max, enum hm_body_kind kind)
{
	struct hm_texts *t = ev->texts;
	size_t all = cost_of(ev->body, kind), mark = cost_of(ELLIPSIS, kind), before = ev->body.len;
	size_t excess = size - max, n = 0, at = 0;

	if (!uses(t, HM_VAR_BODY) || t->parts > 1)
		return false;
	/* Each byte costs more than it seems, or there is more than the text: in proportion, and again. */
	if (all <= excess + mark)
		excess = all - (size_t)((double)all * (double)max / (double)size);
	if (all <= excess + mark)
		return false;
	while (at < before && n + cost((unsigned char)ev->body.p[at], kind) <= all - excess - mark)
		n += cost((unsigned char)ev->body.p[at++], kind);
	if (at == 0)
		return false;
	t->cap = at + ELLIPSIS.len;
	if (t->plain) {
		ev->body = hm_cut(ev->body, t->cap, HM_UNIT_BYTES, ELLIPSIS, ev->a);
		note(t, HM_VAR_BODY, &(struct hm_limit){.unit = HM_UNIT_BYTES}, 0, ev->in->content->body.len,
		     ev->body.len, HM_FIT_CUT, 1);
	} else {
		t->done &= ~bit(HM_VAR_BODY);
		(void)field(ev, HM_VAR_BODY);
	}
	forget_lets(ev);
	return ev->rc == 0 && ev->body.len < before && ev->body.len > ELLIPSIS.len;
}
