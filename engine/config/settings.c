/*
 * settings.c - tbl/settings.h as data: one parser and one printer per type
 */
#include "config/config_int.h"

#include <stdio.h>

const struct hm_setting_info hm_settings_table[] = {
#define RELOAD			      true
#define RESTART			      false
#define OFFSET_DURATION(section, key) offsetof(struct hm_settings, section.key##_ms)
#define OFFSET_BYTES(section, key)    offsetof(struct hm_settings, section.key)
#define OFFSET_INT(section, key)      offsetof(struct hm_settings, section.key)
#define OFFSET_AUTO(section, key)     offsetof(struct hm_settings, section.key)
#define OFFSET_BOOL(section, key)     offsetof(struct hm_settings, section.key)
#define OFFSET_STR(section, key)      offsetof(struct hm_settings, section.key)
#define OFFSET_SECRET(section, key)   offsetof(struct hm_settings, section.key)
#define OFFSET_ENUM(section, key)     offsetof(struct hm_settings, section.key)
#define OFFSET_LIST(section, key)     offsetof(struct hm_settings, section.key)
#define OFFSET_SECRETS(section, key)  offsetof(struct hm_settings, section.key)
#define HM_SECTION(section, doc)
#define HM_SETTING(section, key, type, def, min, max, reload, choices, doc) \
	{#section, #key, def, choices, doc, HM_SET_##type, min, max, reload, OFFSET_##type(section, key)},
#define HM_SECTION_END(section)
#include "tbl/settings.h"
#undef HM_SECTION
#undef HM_SETTING
#undef HM_SECTION_END
};
const size_t hm_settings_count = hm_countof(hm_settings_table);

static const struct {
	const char *name, *doc;
} sections[] = {
#define HM_SECTION(section, doc) {#section, doc},
#define HM_SETTING(...)
#define HM_SECTION_END(section)
#include "tbl/settings.h"
#undef HM_SECTION
#undef HM_SETTING
#undef HM_SECTION_END
};

const char *config_section_name(size_t i)
{
	return i < hm_countof(sections) ? sections[i].name : NULL;
}

const char *config_section_doc(size_t i)
{
	return sections[i].doc;
}

const struct hm_setting_info *hm_setting_find(struct hm_str section, struct hm_str key)
{
	for (size_t i = 0; i < hm_settings_count; i++)
		if (hm_str_is(section, hm_settings_table[i].section) &&
		    hm_str_is(key, hm_settings_table[i].key))
			return &hm_settings_table[i];
	return NULL;
}

static void *field(struct hm_settings *s, const struct hm_setting_info *i)
{
	return (char *)s + i->offset;
}

static const void *cfield(const struct hm_settings *s, const struct hm_setting_info *i)
{
	return (const char *)s + i->offset;
}

/* -- what a value must look like, in words ---------------------------------- */

static void put_duration(struct hm_buf *b, uint64_t ms)
{
	static const struct {
		uint64_t ms;
		const char *unit;
	} units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}};

	for (size_t i = 0; i < hm_countof(units); i++)
		if (ms && ms % units[i].ms == 0) {
			hm_buf_printf(b, "%llu%s", (unsigned long long)(ms / units[i].ms), units[i].unit);
			return;
		}
	hm_buf_printf(b, ms ? "%llums" : "%llu", (unsigned long long)ms);
}

static void put_bytes(struct hm_buf *b, uint64_t n)
{
	static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
	size_t u = 0;

	while (n && n % 1024 == 0 && u + 1 < hm_countof(units)) {
		n /= 1024;
		u++;
	}
	hm_buf_printf(b, "%llu%s", (unsigned long long)n, units[u]);
}

void config_expectation(const struct hm_setting_info *i, struct hm_buf *b)
{
	switch (i->type) {
	case HM_SET_DURATION:
		hm_buf_lit(b, "a duration from ");
		put_duration(b, (uint64_t)i->min);
		hm_buf_lit(b, " to ");
		put_duration(b, (uint64_t)i->max);
		hm_buf_lit(b, ", written as 500ms, 3s, 5m, 2h or 7d");
		break;
	case HM_SET_BYTES:
		hm_buf_lit(b, "a size from ");
		put_bytes(b, (uint64_t)i->min);
		hm_buf_lit(b, " to ");
		put_bytes(b, (uint64_t)i->max);
		hm_buf_lit(b, ", written as 4096, 64KiB or 10MB");
		break;
	case HM_SET_AUTO: hm_buf_lit(b, "auto or "); /* fall through */
	case HM_SET_INT:
		hm_buf_printf(b, "a whole number from %lld to %lld", (long long)i->min, (long long)i->max);
		break;
	case HM_SET_BOOL: hm_buf_lit(b, "true or false"); break;
	case HM_SET_STR:
	case HM_SET_SECRET:
		if (i->min)
			hm_buf_printf(b, "text of %lld to %lld bytes", (long long)i->min, (long long)i->max);
		else
			hm_buf_printf(b, "text of at most %lld bytes", (long long)i->max);
		break;
	case HM_SET_SECRETS:
	case HM_SET_LIST: hm_buf_printf(b, "a list of at most %lld entries", (long long)i->max); break;
	case HM_SET_ENUM: {
		struct hm_str rest = hm_str_c(i->choices), c;

		hm_buf_lit(b, "one of ");
		for (bool first = true; hm_str_split(&rest, '|', &c); first = false)
			hm_buf_printf(b, "%s%.*s", first ? "" : ", ", HM_STRF(c));
		break;
	}
	}
}

/* -- text to field ------------------------------------------------------------ */

static bool parse_bool(struct hm_str s, bool *v_r)
{
	static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};

	for (size_t i = 0; i < hm_countof(words); i++)
		if (hm_str_is(s, words[i])) {
			*v_r = i % 2;
			return true;
		}
	return false;
}

static int parse_choice(struct hm_arena *a, const char *choices, struct hm_str s, struct hm_choice *v_r)
{
	struct hm_str rest = hm_str_c(choices), c;

	for (int i = 0; hm_str_split(&rest, '|', &c); i++)
		if (hm_str_eq(s, c)) {
			v_r->index = i;
			v_r->text = hm_arena_str(a, c);
			return v_r->text.p ? 0 : HM_ENOMEM;
		}
	return HM_ECONFIG;
}

int config_set_list(struct hm_arena *a, const struct hm_setting_info *i, const struct hm_str *items, size_t n,
		    struct hm_settings *s)
{
	struct hm_strs *v = field(s, i);
	struct hm_str *copy;

	if ((int64_t)n < i->min || (int64_t)n > i->max)
		return HM_ECONFIG;
	copy = hm_arena_alloc(a, hm_max(n, (size_t)1) * sizeof(*copy));
	if (copy == NULL)
		return HM_ENOMEM;
	for (size_t k = 0; k < n; k++) {
		copy[k] = hm_arena_str(a, items[k]);
		if (copy[k].p == NULL)
			return HM_ENOMEM;
	}
	*v = (struct hm_strs){.n = n, .v = copy};
	return 0;
}

static int set_comma_list(struct hm_arena *a, const struct hm_setting_info *i, struct hm_str text,
			  struct hm_settings *s)
{
	struct hm_str items[64], part;
	size_t n = 0;

	while (hm_str_split(&text, ',', &part)) {
		part = hm_str_trim(part);
		if (part.len == 0)
			continue;
		if (n == hm_countof(items))
			return HM_ECONFIG;
		items[n++] = part;
	}
	return config_set_list(a, i, items, n, s);
}

int config_set(struct hm_arena *a, const struct hm_setting_info *i, struct hm_str text, struct hm_settings *s)
{
	uint64_t u;
	int64_t n;

	switch (i->type) {
	case HM_SET_DURATION:
		if (!hm_str_duration_ms(text, &u) || u < (uint64_t)i->min || u > (uint64_t)i->max)
			return HM_ECONFIG;
		*(uint64_t *)field(s, i) = u;
		return 0;
	case HM_SET_BYTES:
		if (!hm_str_bytes(text, &u) || u < (uint64_t)i->min || u > (uint64_t)i->max)
			return HM_ECONFIG;
		*(uint64_t *)field(s, i) = u;
		return 0;
	case HM_SET_AUTO:
		if (hm_str_is(text, "auto")) {
			*(int64_t *)field(s, i) = 0;
			return 0;
		} /* fall through */
	case HM_SET_INT:
		if (!hm_str_i64(text, &n) || n < i->min || n > i->max)
			return HM_ECONFIG;
		*(int64_t *)field(s, i) = n;
		return 0;
	case HM_SET_BOOL: return parse_bool(text, field(s, i)) ? 0 : HM_ECONFIG;
	case HM_SET_ENUM: return parse_choice(a, i->choices, text, field(s, i));
	case HM_SET_SECRETS:
	case HM_SET_LIST: return set_comma_list(a, i, text, s);
	case HM_SET_STR:
	case HM_SET_SECRET: {
		struct hm_str *v = field(s, i), copy;

		if ((int64_t)text.len < i->min || (int64_t)text.len > i->max || memchr(text.p, 0, text.len))
			return HM_ECONFIG;
		copy = hm_arena_str(a, text);
		if (copy.p == NULL)
			return HM_ENOMEM;
		*v = copy;
		return 0;
	}
	}
	hm_unreachable();
}

int config_defaults(struct hm_arena *a, struct hm_settings *s)
{
	for (size_t i = 0; i < hm_settings_count; i++) {
		int rc = config_set(a, &hm_settings_table[i], hm_str_c(hm_settings_table[i].def), s);

		if (rc == HM_ENOMEM)
			return rc;
		if (rc < 0)
			hm_panic(__FILE__, __LINE__, __func__,
				 "the default of %s.%s is outside its own range",
				 hm_settings_table[i].section, hm_settings_table[i].key);
	}
	return 0;
}

/* -- field to text ------------------------------------------------------------ */

/* Text as a YAML scalar: plain when nothing in it can be misread, else double-quoted. */
static void put_scalar(struct hm_buf *b, struct hm_str s)
{
	static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "null", "~"};
	bool plain = s.len > 0;
	int64_t n;

	for (size_t i = 0; i < s.len && plain; i++) {
		char c = s.p[i];

		plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			c == '_' || c == '/' || c == '.' || (i && (c == '-' || c == '=' || c == '+')) ||
			(c == ':' && i + 1 < s.len && s.p[i + 1] != ' ');
	}
	for (size_t i = 0; i < hm_countof(words) && plain; i++)
		plain = !hm_str_is(s, words[i]);
	if (plain && !hm_str_i64(s, &n)) {
		hm_buf_puts(b, s);
		return;
	}
	hm_buf_putc(b, '"');
	hm_buf_json(b, s);
	hm_buf_putc(b, '"');
}

/* redis://user:password@host -> redis://user:***@host; other text stays as it is. */
static void put_masked_url(struct hm_buf *b, struct hm_str s, struct hm_arena *scratch)
{
	ptrdiff_t scheme = hm_str_find(s, HM_STR("://")), at = -1, colon;
	struct hm_str user;

	for (size_t i = s.len; scheme >= 0 && i-- > (size_t)scheme + 3;)
		if (s.p[i] == '@') {
			at = (ptrdiff_t)i;
			break;
		}
	if (at < 0) {
		put_scalar(b, s);
		return;
	}
	user = hm_str_n(s.p + scheme + 3, (size_t)(at - scheme - 3));
	colon = hm_str_chr(user, ':');
	if (colon >= 0)
		user.len = (size_t)colon;
	put_scalar(b, hm_arena_printf(scratch, "%.*s://%.*s:***%.*s", (int)scheme, s.p, HM_STRF(user),
				      (int)(s.len - (size_t)at), s.p + at));
}

void config_put_value(const struct hm_settings *s, const struct hm_setting_info *i, bool secret,
		      struct hm_buf *b)
{
	const void *v = cfield(s, i);
	struct hm_arena scratch;

	if (i->type == HM_SET_SECRETS && !secret && ((const struct hm_strs *)v)->n == 0) {
		hm_buf_lit(b, "[]");
		return;
	}
	if (i->type == HM_SET_SECRET || i->type == HM_SET_SECRETS || secret) {
		bool empty = i->type == HM_SET_SECRET && ((const struct hm_str *)v)->len == 0;

		hm_buf_puts(b, hm_str_c(empty ? "\"\"" : "\"***\""));
		return;
	}
	switch (i->type) {
	case HM_SET_DURATION: put_duration(b, *(const uint64_t *)v); break;
	case HM_SET_BYTES: put_bytes(b, *(const uint64_t *)v); break;
	case HM_SET_AUTO:
		if (*(const int64_t *)v == 0) {
			hm_buf_lit(b, "auto");
			break;
		} /* fall through */
	case HM_SET_INT: hm_buf_i64(b, *(const int64_t *)v); break;
	case HM_SET_BOOL: hm_buf_puts(b, hm_str_c(*(const bool *)v ? "true" : "false")); break;
	case HM_SET_ENUM: put_scalar(b, ((const struct hm_choice *)v)->text); break;
	case HM_SET_SECRETS:
	case HM_SET_SECRET:
	case HM_SET_STR:
		hm_arena_init(&scratch, NULL, 0);
		put_masked_url(b, *(const struct hm_str *)v, &scratch);
		hm_arena_fini(&scratch);
		break;
	case HM_SET_LIST: {
		const struct hm_strs *l = v;

		hm_buf_putc(b, '[');
		for (size_t k = 0; k < l->n; k++) {
			if (k)
				hm_buf_lit(b, ", ");
			put_scalar(b, l->v[k]);
		}
		hm_buf_putc(b, ']');
		break;
	}
	}
}

bool config_same_value(const struct hm_settings *a, const struct hm_settings *b,
		       const struct hm_setting_info *i)
{
	const void *x = cfield(a, i), *y = cfield(b, i);

	switch (i->type) {
	case HM_SET_DURATION:
	case HM_SET_BYTES:
	case HM_SET_INT:
	case HM_SET_AUTO: return *(const uint64_t *)x == *(const uint64_t *)y;
	case HM_SET_BOOL: return *(const bool *)x == *(const bool *)y;
	case HM_SET_STR:
	case HM_SET_SECRET: return hm_str_eq(*(const struct hm_str *)x, *(const struct hm_str *)y);
	case HM_SET_ENUM: return ((const struct hm_choice *)x)->index == ((const struct hm_choice *)y)->index;
	case HM_SET_SECRETS:
	case HM_SET_LIST: {
		const struct hm_strs *l = x, *r = y;

		if (l->n != r->n)
			return false;
		for (size_t k = 0; k < l->n; k++)
			if (!hm_str_eq(l->v[k], r->v[k]))
				return false;
		return true;
	}
	}
	hm_unreachable();
}

/* -- documentation -------------------------------------------------------------- */

static void put_wrapped(struct hm_buf *b, const char *indent, const char *text)
{
	struct hm_str rest = hm_str_c(text), word;
	size_t col = 0;

	while (hm_str_split(&rest, ' ', &word)) {
		if (col && col + word.len + 1 > 92) {
			hm_buf_putc(b, '\n');
			col = 0;
		}
		if (col == 0) {
			hm_buf_puts(b, hm_str_c(indent));
			col = strlen(indent);
		} else {
			hm_buf_putc(b, ' ');
			col++;
		}
		hm_buf_puts(b, word);
		col += word.len;
	}
	hm_buf_putc(b, '\n');
}

void hm_settings_doc(struct hm_buf *out)
{
	const char *section = "";

	for (size_t i = 0, s = 0; i < hm_settings_count; i++) {
		const struct hm_setting_info *row = &hm_settings_table[i];

		if (strcmp(section, row->section) != 0) {
			section = row->section;
			hm_buf_printf(out, "%s%s:  %s\n\n", i ? "\n" : "", section, config_section_doc(s++));
		}
		hm_buf_printf(out, "  %s.%s = %s\n", row->section, row->key, row->def[0] ? row->def : "\"\"");
		hm_buf_lit(out, "      ");
		config_expectation(row, out);
		hm_buf_puts(out, hm_str_c(row->reloadable ? "; reload\n" : "; restart\n"));
		put_wrapped(out, "      ", row->doc);
	}
}
