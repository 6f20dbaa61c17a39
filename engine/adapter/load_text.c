/*
 * load_text.c - the sections that say how a content becomes the texts of a medium: dialect, text, limits
 */
#include "adapter/model.h"

static struct hm_parse scope(struct hm_loader *l, const char *where)
{
	return (struct hm_parse){
		.a = &l->ad->arena, .names = &l->ad->names, .allowed = HM_AT_M, .where = where};
}

/* -- words that may be computed ------------------------------------------------------------ */

/* What an expression can come to, as far as it stands there: the ends of c ? a : b, a ?? b, a || b. */
static void each_word(const struct hm_expr *e, void (*fn)(void *arg, struct hm_str word), void *arg)
{
	switch ((enum hm_op)e->op) {
	case HM_EX_CONST:
		if (e->k.t == HM_V_STR)
			fn(arg, e->k.s);
		break;
	case HM_EX_COND:
		each_word(e->a[1], fn, arg);
		each_word(e->a[2], fn, arg);
		break;
	case HM_EX_COALESCE:
	case HM_EX_OR:
		each_word(e->a[0], fn, arg);
		each_word(e->a[1], fn, arg);
		break;
	default: break;
	}
}

struct word_check {
	struct hm_loader *l;
	const struct hm_yaml *y;
	const char *what;
};

static void check_dialect(void *arg, struct hm_str word)
{
	struct word_check *w = arg;
	const char *names[64], *near;
	const struct hm_dialect *d;
	size_t n = 0;

	if (hm_dialect_find(word) != NULL)
		return;
	for (; n + 1 < hm_countof(names) && (d = hm_dialect_at(n)) != NULL; n++)
		names[n] = hm_dialect_name(d);
	names[n] = NULL;
	near = hm_str_nearest(word, names);
	hm_load_fail(w->l, w->y, "dialect: there is none called \"%.*s\"%s%s%s", HM_STRF(word),
		     near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

const char hm_place_words[] = "separate, body or none";
static const char *const places[] = {"separate", "body", "none"};

int hm_place_find(struct hm_str name)
{
	for (size_t i = 0; i < hm_countof(places); i++)
		if (hm_str_is(name, places[i]))
			return (int)i;
	return -1;
}

static void check_place(void *arg, struct hm_str word)
{
	struct word_check *w = arg;

	if (hm_place_find(word) < 0)
		hm_load_fail(w->l, w->y, "text.%s: \"%.*s\" is not known; expected %s", w->what,
			     HM_STRF(word), hm_place_words);
}

static struct hm_tpl *load_words(struct hm_loader *l, const struct hm_yaml *map, const char *key,
				 const char *where, void (*fn)(void *arg, struct hm_str word))
{
	struct hm_parse p = scope(l, where);
	struct word_check w = {.l = l, .y = hm_yaml_get(map, key), .what = key};
	struct hm_tpl *t = hm_load_tpl(l, map, key, &p);

	if (t != NULL && t->n == 1 && t->part[0].e)
		each_word(t->part[0].e, fn, &w);
	else if (t != NULL && t->n == 1)
		fn(&w, t->part[0].lit);
	return t;
}

void hm_load_text(struct hm_loader *l, const struct hm_yaml *root)
{
	static const char *const keys[] = {"title", "url",    "link_text", "buttons",
					   "links", "images", "sms",	   NULL};
	const struct hm_yaml *y = hm_yaml_get(root, "text");
	struct hm_parse p = scope(l, "text.link_text");
	struct hm_adapter *ad = l->ad;

	ad->links = ad->images = true;
	ad->sms = ad->medium == HM_MED_SMS;
	ad->dialect = load_words(l, root, "dialect", "dialect", check_dialect);
	if (y == NULL || !hm_load_known(l, y, "text", keys))
		return;
	ad->place[HM_PLACED_TITLE] = load_words(l, y, "title", "text.title", check_place);
	ad->place[HM_PLACED_URL] = load_words(l, y, "url", "text.url", check_place);
	ad->place[HM_PLACED_BUTTONS] = load_words(l, y, "buttons", "text.buttons", check_place);
	ad->link_text = hm_load_tpl(l, y, "link_text", &p);
	ad->links = hm_load_bool(l, y, "links", true);
	ad->images = hm_load_bool(l, y, "images", true);
	ad->sms = hm_load_bool(l, y, "sms", ad->sms);
}

/* -- limits ------------------------------------------------------------------------------------ */

static void check_row(struct hm_loader *l, const struct hm_yaml *y, const struct hm_limit *lim)
{
	bool words = lim->field == HM_VAR_BODY || lim->field == HM_VAR_TEXT;

	if (lim->beside && !words)
		hm_load_fail(l, y, "limits.fields: only body and text stand beside something");

	if (lim->over == HM_OVER_CUT && (lim->field == HM_VAR_URL || lim->field == HM_VAR_IMAGE))
		hm_load_fail(l, y, "limits.fields: a cut %s leads nowhere; over: refuse",
			     hm_var_name(lim->field));
	if ((lim->over == HM_OVER_SPLIT || lim->over == HM_OVER_SHORT) && !words)
		hm_load_fail(l, y, "limits.fields: only body and text can be over: %s",
			     lim->over == HM_OVER_SPLIT ? "split" : "short");
	if (lim->over != HM_OVER_SPLIT && (hm_yaml_get(y, "max_parts") || hm_yaml_get(y, "numbered")))
		hm_load_fail(l, y, "limits.fields: max_parts and numbered belong to over: split");
}

static void load_limit(struct hm_loader *l, const struct hm_yaml *y, struct hm_limit *lim)
{
	static const char *const keys[] = {"field", "max",	 "unit",     "over",   "mark",
					   "when",  "max_parts", "numbered", "beside", NULL};
	static const char *const fields[] = {"title", "body", "text", "html", "short", "url", "image", NULL};
	static const enum hm_var field_of[] = {HM_VAR_TITLE, HM_VAR_BODY, HM_VAR_TEXT, HM_VAR_HTML,
					       HM_VAR_SHORT, HM_VAR_URL,  HM_VAR_IMAGE};
	static const char *const units[] = {"bytes", "chars", "utf16", "segments", NULL};
	static const char *const overs[] = {"cut", "refuse", "split", "short", NULL};
	struct hm_parse p = scope(l, "limits.fields");
	const struct hm_yaml *c;
	int i;

	if (!hm_load_known(l, y, "limits.fields", keys))
		return;
	c = hm_yaml_get(y, "field");
	i = c ? hm_load_choice(l, c, "field", fields) : -1;
	if (c == NULL)
		hm_load_fail(l, y, "limits.fields: field is missing");
	lim->field = field_of[i < 0 ? 0 : i];
	lim->max = hm_load_expr(l, y, "max", &p);
	if (lim->max == NULL)
		hm_load_fail(l, y, "limits.fields: max is missing");
	lim->when = hm_load_expr(l, y, "when", &p);
	lim->beside = hm_load_expr(l, y, "beside", &p);
	c = hm_yaml_get(y, "unit");
	i = c ? hm_load_choice(l, c, "unit", units) : -1;
	if (c == NULL)
		hm_load_fail(l, y, "limits.fields: unit is missing (bytes, chars, utf16 or segments)");
	lim->unit = (enum hm_unit)(i < 0 ? 0 : i);
	c = hm_yaml_get(y, "over");
	i = c ? hm_load_choice(l, c, "over", overs) : 0;
	lim->over = (enum hm_over)(i < 0 ? 0 : i);
	/* An ellipsis of one sign is not in the alphabet of text messages and would double their number. */
	lim->mark = hm_load_str(l, y, "mark", lim->unit == HM_UNIT_SEGMENTS ? "..." : "\xe2\x80\xa6");
	lim->max_parts = (uint32_t)hm_load_int(l, y, "max_parts", 1, HM_FIT_MAX_PARTS, HM_FIT_MAX_PARTS);
	lim->numbered = hm_load_bool(l, y, "numbered", false);
	check_row(l, y, lim);
}

void hm_load_limits(struct hm_loader *l, const struct hm_yaml *root)
{
	static const char *const keys[] = {"payload_bytes", "payload_over", "fields", NULL};
	static const char *const overs[] = {"refuse", "cut", NULL};
	const struct hm_yaml *y = hm_yaml_get(root, "limits"), *list;
	struct hm_parse p = scope(l, "limits.payload_bytes");
	struct hm_adapter *ad = l->ad;

	if (y == NULL || !hm_load_known(l, y, "limits", keys))
		return;
	ad->payload_bytes = hm_load_expr(l, y, "payload_bytes", &p);
	if (hm_yaml_get(y, "payload_over")) {
		ad->payload_cut = hm_load_choice(l, hm_yaml_get(y, "payload_over"), "payload_over", overs) ==
				  1;
		if (ad->payload_bytes == NULL)
			hm_load_fail(l, y, "limits: payload_over needs payload_bytes");
	}
	list = hm_yaml_get(y, "fields");
	if (list == NULL)
		return;
	if (list->type != HM_YAML_SEQ) {
		hm_load_fail(l, list, "limits.fields: expected a list");
		return;
	}
	ad->limits = hm_load_alloc(l, list->len * sizeof(*ad->limits));
	for (const struct hm_yaml *c = list->first; c && ad->limits; c = c->next)
		load_limit(l, c, &ad->limits[ad->n_limits++]);
}
