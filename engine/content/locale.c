/*
 * locale.c - which of a document's locales a recipient reads
 *
 * RFC 4647 look-up first (zh-Hant-TW, zh-Hant, zh). Then what people mean by it: phones say zh-Hans-CN where documents
 * say zh-CN, and who reads "zh" or "en-AU" is better served by zh-CN or en-GB than by another language: the same
 * language, in the same script if there is one, before default_locale.
 */
#include "content/content_int.h"

static bool alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static char upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}

/* Well-formed enough to be looked up: subtags of 1 to 8 letters and digits, the first of 2 to 8 letters. */
bool hm_locale_ok(struct hm_str tag)
{
	size_t n = 0, subtags = 0;

	for (size_t i = 0; i <= tag.len; i++) {
		if (i < tag.len && alnum(tag.p[i])) {
			if (subtags == 0 && tag.p[i] <= '9')
				return false;
			n++;
			continue;
		}
		if (i < tag.len && tag.p[i] != '-' && tag.p[i] != '_')
			return false;
		if (n < (subtags ? 1u : 2u) || n > 8)
			return false;
		subtags++;
		n = 0;
	}
	return subtags > 0;
}

bool hm_locale_eq(struct hm_str a, struct hm_str b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++) {
		char x = a.p[i] == '_' ? '-' : lower(a.p[i]), y = b.p[i] == '_' ? '-' : lower(b.p[i]);

		if (x != y)
			return false;
	}
	return true;
}

static size_t cut(struct hm_str tag)
{
	for (size_t i = tag.len; i > 0; i--)
		if (tag.p[i - 1] == '-' || tag.p[i - 1] == '_')
			return i - 1;
	return 0;
}

struct hm_str hm_locale_parent(struct hm_str tag)
{
	tag.len = cut(tag);
	/* a single letter or digit announces what was just cut off: it goes too */
	if (tag.len >= 2 && (tag.p[tag.len - 2] == '-' || tag.p[tag.len - 2] == '_'))
		tag.len -= 2;
	return tag;
}

struct parts {
	struct hm_str language, script, region;
};

static struct parts split(struct hm_str tag)
{
	struct parts p = {.script = HM_STR("")};

	for (size_t i = 0, n; i <= tag.len; i += n + 1) {
		struct hm_str sub;

		for (n = 0; i + n < tag.len && alnum(tag.p[i + n]); n++)
			;
		sub = hm_str_n(tag.p + i, n);
		if (i == 0)
			p.language = sub;
		else if (n == 1)
			break; /* extensions */
		else if (n == 4 && sub.p[0] > '9' && p.script.len == 0)
			p.script = sub;
		else if ((n == 2 || (n == 3 && sub.p[0] <= '9')) && p.region.len == 0)
			p.region = sub;
	}
	return p;
}

/* Chinese is written in two scripts, and most tags leave it to the region to tell which. */
static struct hm_str script_of(const struct parts *p)
{
	static const char *const hant[] = {"tw", "hk", "mo"};

	if (p->script.len > 0 || !hm_str_ieq(p->language, HM_STR("zh")))
		return p->script;
	for (size_t i = 0; i < hm_countof(hant); i++)
		if (hm_str_ieq(p->region, hm_str_c(hant[i])))
			return HM_STR("hant");
	return HM_STR("hans");
}

/* How well a document's locale serves a reader: 0 not at all, 1 the language, 2 also the script, 3 also the region. */
static unsigned nearness(const struct parts *have, const struct parts *want)
{
	if (!hm_str_ieq(have->language, want->language))
		return 0;
	if (!hm_str_ieq(script_of(have), script_of(want)))
		return 1;
	return want->region.len > 0 && hm_str_ieq(have->region, want->region) ? 3 : 2;
}

const struct locale *hm_locale_pick(const struct hm_template *t, struct hm_str wanted)
{
	const struct locale *best = &t->loc[0];
	unsigned found = 0;
	struct parts want;

	if (t->n_loc == 1 || wanted.len == 0)
		return best;
	for (struct hm_str tag = wanted; tag.len > 0; tag = hm_locale_parent(tag))
		for (size_t i = 0; i < t->n_loc; i++)
			if (hm_locale_eq(t->loc[i].tag, tag))
				return &t->loc[i];
	want = split(wanted);
	for (size_t i = 0; i < t->n_loc; i++) {
		struct parts have = split(t->loc[i].tag);
		unsigned near = nearness(&have, &want);

		if (near > found) {
			found = near;
			best = &t->loc[i];
		}
	}
	return best;
}

struct hm_str hm_locale_java(struct hm_str tag, char out[LOCALE_MAX])
{
	struct hm_str rest = tag, part;
	size_t n = 0;

	for (size_t i = 0; rest.len > 0; i++) {
		size_t end = 0;

		while (end < rest.len && rest.p[end] != '-' && rest.p[end] != '_')
			end++;
		part = hm_str_n(rest.p, end);
		rest = end < rest.len ? hm_str_n(rest.p + end + 1, rest.len - end - 1) : HM_STR("");
		if (i == 0) {
			if (end > 8)
				return HM_STR("");
			for (size_t k = 0; k < end; k++)
				out[n++] = lower(part.p[k]);
		} else if (end == 2 ||
			   (end == 3 && part.p[0] <= '9')) { /* a region; a script has four letters */
			out[n++] = '_';
			for (size_t k = 0; k < end; k++)
				out[n++] = upper(part.p[k]);
			break;
		} else if (end == 1) {
			break;
		}
	}
	return hm_str_n(out, n);
}
