/*
 * rich_url.c - which URLs may be the target of a link
 *
 * An allow list: the schemes of mail and web, and those of apps, which always have "//" behind the colon. The
 * schemes that run or read something where the link is opened are refused even in that form. Browsers
 * ignore control characters inside a scheme ("java\nscript:"); here any of them makes the URL bad.
 */
#include "adapt/rich_int.h"

static const char *const others[] = {"mailto", "sms", "tel"}; /* without slashes */
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
	bool slashes;
	size_t i = 0;

	for (size_t k = 0; k < url.len; k++) {
		unsigned char c = (unsigned char)url.p[k];

		if (c < 0x20 || c == 0x7f || (c == 0xc2 && hm_control(url.p + k, url.p + url.len)))
			return false;
	}
	while (i < url.len && (hm_is_alnum((unsigned char)url.p[i]) ||
			       (i && (url.p[i] == '+' || url.p[i] == '-' || url.p[i] == '.'))))
		i++;
	if (i == 0 || url.len - i < 2 || url.p[i] != ':' || hm_is_digit((unsigned char)url.p[0]) ||
	    url.p[url.len - 1] == ' ')
		return false;
	slashes = url.len - i > 3 && url.p[i + 1] == '/' && url.p[i + 2] == '/';
	scheme = hm_str_n(url.p, i);
	if (hm_str_ieq(scheme, HM_STR("https")) || hm_str_ieq(scheme, HM_STR("http")))
		return slashes;
	return listed(scheme, others, hm_countof(others)) ||
	       (slashes && !listed(scheme, never, hm_countof(never)));
}
