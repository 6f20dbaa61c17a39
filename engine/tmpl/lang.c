/* lang.c - see lang.h */
#include "tmpl/lang.h"

#include "tmpl/value.h"

const struct hm_bi_def hm_bi_def[BI_COUNT] = {
#define HM_BI(id, text, lo, hi, fl) {HM_STR_INIT(text), lo, hi, fl},
#define HM_BI_X			    HM_BI
#include "tmpl/builtins.h"
#undef HM_BI
#undef HM_BI_X
};

int hm_bi_find(struct hm_str name)
{
	for (int i = 0; i < BI_COUNT; i++)
		if (hm_str_eq(hm_bi_def[i].name, name))
			return i;
	return -1;
}

int hm_special_find(struct hm_str name)
{
	static const struct hm_str names[] = {
#define HM_SPECIAL(id, text) HM_STR_INIT(text),
#include "tmpl/specials.h"
#undef HM_SPECIAL
	};

	for (int i = 0; i < SPECIAL_COUNT; i++)
		if (hm_str_eq(names[i], name))
			return i;
	return -1;
}

int hm_tmpl_setting_find(struct hm_str name)
{
	static const struct hm_str names[] = {
#define HM_SETTING(id, text) HM_STR_INIT(text),
#include "tmpl/settings.h"
#undef HM_SETTING
	};

	for (int i = 0; i < SETTING_COUNT; i++)
		if (hm_str_eq(names[i], name))
			return i;
	return -1;
}

static const struct hm_str fmt_names[FMT_COUNT] = {
	[FMT_PLAIN] = HM_STR_INIT("plainText"),
	[FMT_HTML] = HM_STR_INIT("HTML"),
	[FMT_XHTML] = HM_STR_INIT("XHTML"),
	[FMT_XML] = HM_STR_INIT("XML"),
	[FMT_JSON] = HM_STR_INIT("JSON"),
	[FMT_JS] = HM_STR_INIT("JavaScript"),
	[FMT_CSS] = HM_STR_INIT("CSS"),
	[FMT_MARKDOWN] = HM_STR_INIT("markdown"),
	[FMT_UNDEFINED] = HM_STR_INIT("undefined"),
};

int hm_fmt_find(struct hm_str name)
{
	for (int i = 0; i < FMT_COUNT; i++)
		if (hm_str_eq(fmt_names[i], name))
			return i;
	return -1;
}

struct hm_str hm_fmt_name(unsigned fmt)
{
	return fmt_names[fmt];
}
