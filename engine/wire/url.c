/*
 * url.c - the URLs of providers: absolute, of a known scheme, nothing hidden in them
 *
 * Stricter than RFC 3986 on purpose: user:password@, characters that need
 * encoding and non-ASCII host names are refused, so that what a person reads in
 * the configuration is what is connected to.
 */
#include "wire/wire.h"

static bool host_char(char ch)
{
	return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
	       ch == '.' || ch == '-' || ch == '_';
}

static int parse_port(struct hm_str text, uint16_t *port_r, struct hm_err *e)
{
	uint64_t v;

	if (!hm_str_u64(text, &v) || v == 0 || v > 65535)
		return hm_err_set(e, HM_EINVAL, "the URL's port '%.*s' is not a number from 1 to 65535",
				  HM_STRF(text));
	*port_r = (uint16_t)v;
	return 0;
}

static int parse_name(struct hm_str host, struct hm_err *e)
{
	if (host.len == 0)
		return hm_err_set(e, HM_EINVAL, "the URL has no host");
	if (host.len > 253)
		return hm_err_set(e, HM_EINVAL, "the URL's host is longer than 253 characters");
	for (size_t i = 0; i < host.len; i++) {
		if ((uint8_t)host.p[i] >= 0x80)
			return hm_err_set(e, HM_EINVAL, "write the URL's host in its ASCII form (xn--...)");
		if (!host_char(host.p[i]))
			return hm_err_set(e, HM_EINVAL, "the URL's host '%.*s' has a forbidden character",
					  HM_STRF(host));
	}
	return 0;
}

/* "[2001:db8::1]": fills host without the brackets, *rest_r what follows them. */
static int parse_ipv6(struct hm_str auth, struct hm_str *host_r, struct hm_str *rest_r, struct hm_err *e)
{
	ptrdiff_t end = hm_str_chr(auth, ']');
	struct hm_str in;

	if (end < 0)
		return hm_err_set(e, HM_EINVAL, "the URL's host has '[' without ']'");
	in = hm_str_n(auth.p + 1, (size_t)end - 1);
	for (size_t i = 0; i < in.len; i++) {
		char ch = in.p[i];

		if (!(ch == ':' || ch == '.' || (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'f') ||
		      (ch >= 'A' && ch <= 'F')))
			return hm_err_set(e, HM_EINVAL, "the URL's host '[%.*s]' is not an IPv6 address",
					  HM_STRF(in));
	}
	if (in.len < 2 || in.len > 45)
		return hm_err_set(e, HM_EINVAL, "the URL's host '[%.*s]' is not an IPv6 address",
				  HM_STRF(in));
	*host_r = in;
	*rest_r = hm_str_n(auth.p + end + 1, auth.len - (size_t)end - 1);
	return 0;
}

static int parse_authority(struct hm_str auth, struct hm_origin_opts *o, struct hm_err *e)
{
	struct hm_str rest = HM_STR_NULL;
	ptrdiff_t colon;
	int rc;

	if (hm_str_chr(auth, '@') >= 0)
		return hm_err_set(e, HM_EINVAL,
				  "the URL carries a user name or password ('@'), which is not allowed");
	if (auth.len && auth.p[0] == '[') {
		if ((rc = parse_ipv6(auth, &o->host, &rest, e)) < 0)
			return rc;
		if (rest.len == 0)
			return 0;
		if (rest.p[0] != ':')
			return hm_err_set(e, HM_EINVAL, "the URL's host is followed by '%.*s'",
					  HM_STRF(rest));
		return parse_port(hm_str_n(rest.p + 1, rest.len - 1), &o->port, e);
	}
	colon = hm_str_chr(auth, ':');
	o->host = colon < 0 ? auth : hm_str_n(auth.p, (size_t)colon);
	if ((rc = parse_name(o->host, e)) < 0 || colon < 0)
		return rc;
	return parse_port(hm_str_n(auth.p + colon + 1, auth.len - (size_t)colon - 1), &o->port, e);
}

static const struct {
	const char *name;
	uint16_t port, tls_port;
} protocols[HM_PROTO_COUNT] = {
	[HM_PROTO_HTTP] = {"http", 80, 443},
#define HM_PROTOCOL(name, text, port, tls_port, sentence) [HM_PROTO_##name] = {text, port, tls_port},
#include "tbl/protocols.h"
#undef HM_PROTOCOL
};

const char *hm_protocol_name(enum hm_protocol p)
{
	hm_assert(p < HM_PROTO_COUNT);
	return protocols[p].name;
}

/* The scheme, one of the first n protocols: fills protocol, tls and their port. Returns its length with "://", 0 when there is none. */
static size_t parse_scheme(struct hm_str url, int n_protocols, struct hm_origin_opts *o)
{
	for (int p = 0; p < n_protocols; p++) {
		size_t n = strlen(protocols[p].name);
		bool tls;

		if (url.len < n + 3 || !hm_str_ieq(hm_str_n(url.p, n), hm_str_c(protocols[p].name)))
			continue;
		tls = url.p[n] == 's' || url.p[n] == 'S';
		if (!hm_str_starts(hm_str_n(url.p + n + tls, url.len - n - tls), HM_STR("://")))
			continue;
		o->protocol = (enum hm_protocol)p;
		o->tls = tls;
		o->port = tls ? protocols[p].tls_port : protocols[p].port;
		return n + tls + 3;
	}
	return 0;
}

static int parse(struct hm_str url, int n_protocols, struct hm_origin_opts *o, struct hm_str *path_r,
		 struct hm_err *e)
{
	struct hm_str rest = url, auth, path = HM_STR("/");
	size_t n;
	int rc;

	n = parse_scheme(url, n_protocols, o);
	if (n == 0)
		return hm_err_set(e, HM_EINVAL, "the URL must begin with https:// or http://");
	rest = hm_str_n(url.p + n, url.len - n);
	for (n = 0; n < rest.len && rest.p[n] != '/' && rest.p[n] != '?' && rest.p[n] != '#'; n++)
		;
	auth = hm_str_n(rest.p, n);
	if ((rc = parse_authority(auth, o, e)) < 0)
		return rc;
	rest = hm_str_n(rest.p + n, rest.len - n);
	if (rest.len && rest.p[0] == '?')
		return hm_err_set(e, HM_EINVAL, "the URL has a query but no path: write '/' before the '?'");
	if (rest.len && rest.p[0] == '/')
		path = rest;
	/* A fragment is never sent (RFC 9110 section 4.2.5). */
	for (n = 0; n < path.len; n++) {
		if (path.p[n] == '#') {
			path.len = n;
			break;
		}
		if ((uint8_t)path.p[n] <= 0x20 || (uint8_t)path.p[n] >= 0x7f)
			return hm_err_set(
				e, HM_EINVAL,
				"the URL's path has a blank or a character that must be percent-encoded");
	}
	if (path_r)
		*path_r = path;
	return 0;
}

int hm_wire_parse_url(struct hm_str url, struct hm_origin_opts *o, struct hm_str *path_r, struct hm_err *e)
{
	return parse(url, HM_PROTO_HTTP + 1, o, path_r, e);
}

int hm_wire_parse_endpoint(struct hm_str url, struct hm_origin_opts *o, struct hm_str *path_r,
			   struct hm_err *e)
{
	return parse(url, HM_PROTO_COUNT, o, path_r, e);
}
