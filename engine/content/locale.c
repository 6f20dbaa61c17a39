/*
 * locale.c - which of a document's locales a recipient reads: RFC 4647 look-up
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

const struct locale *hm_locale_pick(const struct hm_template *t, struct hm_str wanted)
{
	if (t->n_loc == 1)
		return &t->loc[0];
	for (; wanted.len > 0; wanted = hm_locale_parent(wanted))
		for (size_t i = 0; i < t->n_loc; i++)
			if (hm_locale_eq(t->loc[i].tag, wanted))
				return &t->loc[i];
	return &t->loc[0];
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
