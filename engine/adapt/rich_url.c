/*
 * rich_url.c - which URLs may be the target of a link
 *
 * An allow list: the schemes of mail and web, and those of apps, which always have "//" behind the colon. The
 * schemes that run or read something where the link is opened are refused even in that form. Browsers
 * ignore control characters inside a scheme ("java\nscript:"); here any of them makes the URL bad.
 */
#include "adapt/rich_int.h"

static const char *const plain_schemes[] = {"http", "https", "mailto", "sms", "tel"};
static const char *const never[] = {"about",	"blob",	       "data",	     "file",  "filesystem",
				    "jar",	"javascript",  "livescript", "mocha", "vbs",
				    "vbscript", "view-source", "wyciwyg"};

static bool listed(struct hm_str scheme, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (hm_str_ieq(scheme, hm_str_c(list[i])))
			return true;
	return false;
}

bool hm_rich_url_ok(struct hm_str url)
{
	struct hm_str scheme;
	size_t i = 0;

	for (size_t k = 0; k < url.len; k++)
		if (hm_control(url.p + k, url.p + url.len) || url.p[k] == '\n' || url.p[k] == '\r' ||
		    url.p[k] == '\t')
			return false;
	while (i < url.len && (hm_is_alnum((unsigned char)url.p[i]) || (i && strchr("+-.", url.p[i]))))
		i++;
	if (i == 0 || i == url.len || url.p[i] != ':' || !(((unsigned char)url.p[0] | 0x20) >= 'a'))
		return false;
	scheme = hm_str_n(url.p, i);
	if (listed(scheme, never, hm_countof(never)) || url.p[url.len - 1] == ' ')
		return false;
	if (hm_str_ieq(scheme, HM_STR("http")) || hm_str_ieq(scheme, HM_STR("https")))
		return url.len - i > 3 && url.p[i + 1] == '/' && url.p[i + 2] == '/';
	if (listed(scheme, plain_schemes, hm_countof(plain_schemes)))
		return url.len - i > 1;
	return url.len - i > 3 && url.p[i + 1] == '/' && url.p[i + 2] == '/';
}
