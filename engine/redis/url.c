/*
 * url.c - parse redis://, rediss://, unix:// and the two cluster forms
 */
#include "redis/url.h"

static const struct scheme {
	const char *prefix;
	bool tls, cluster, is_unix;
} schemes[] = {
	{"redis://", false, false, false},	  {"rediss://", true, false, false},
	{"unix://", false, false, true},	  {"redis+cluster://", false, true, false},
	{"rediss+cluster://", true, true, false},
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Into out[cap] with a NUL; false when malformed, too long or holding a NUL byte. */
static bool percent_decode(struct hm_str s, char *out, size_t cap)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (c == '%') {
			int hi, lo;

			if (s.len - i < 3)
				return false;
			hi = hex_digit(s.p[i + 1]);
			lo = hex_digit(s.p[i + 2]);
			if (hi < 0 || lo < 0)
				return false;
			c = (char)(hi * 16 + lo);
			i += 2;
		}
		if (c == '\0' || n + 1 >= cap)
			return false;
		out[n++] = c;
	}
	out[n] = '\0';
	return true;
}

static int parse_userinfo(struct hm_str s, struct hm_redis_url *u, struct hm_err *e)
{
	ptrdiff_t colon = hm_str_chr(s, ':');
	struct hm_str user = s, pass = HM_STR_NULL;

	if (colon >= 0) {
		user = hm_str_n(s.p, (size_t)colon);
		pass = hm_str_n(s.p + colon + 1, s.len - (size_t)colon - 1);
	}
	if (!percent_decode(user, u->username, sizeof(u->username)) ||
	    !percent_decode(pass, u->password, sizeof(u->password)))
		return hm_err_set(e, HM_ECONFIG,
				  "redis url: the user or password before '@' is too long or badly "
				  "percent-encoded (write '%%' as %%25, '@' as %%40, '/' as %%2F)");
	return 0;
}

static bool host_char(char c, bool bracketed)
{
	if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.')
		return true;
	return bracketed ? c == ':' || c == '%' : c == '-' || c == '_';
}

static int parse_host_port(struct hm_str s, struct hm_redis_addr *a, struct hm_err *e)
{
	struct hm_str host = s, port = HM_STR_NULL;
	bool bracketed = s.len > 0 && s.p[0] == '[';
	uint64_t n = HM_REDIS_PORT;

	if (bracketed) {
		ptrdiff_t end = hm_str_chr(s, ']');

		if (end < 0)
			return hm_err_set(e, HM_ECONFIG, "redis url: '[' without ']' in \"%.*s\"",
					  HM_STRF(s));
		host = hm_str_n(s.p + 1, (size_t)end - 1);
		port = hm_str_n(s.p + end + 1, s.len - (size_t)end - 1);
		if (port.len > 0 && port.p[0] != ':')
			return hm_err_set(e, HM_ECONFIG,
					  "redis url: expected ':' and a port after ']' in \"%.*s\"",
					  HM_STRF(s));
	} else {
		ptrdiff_t colon = hm_str_chr(s, ':');

		if (colon >= 0) {
			host = hm_str_n(s.p, (size_t)colon);
			port = hm_str_n(s.p + colon, s.len - (size_t)colon);
		}
	}
	if (port.len > 0) {
		port = hm_str_n(port.p + 1, port.len - 1);
		if (!hm_str_u64(port, &n) || n == 0 || n > 65535)
			return hm_err_set(e, HM_ECONFIG, "redis url: \"%.*s\" is not a port (1 to 65535)%s",
					  HM_STRF(port),
					  hm_str_chr(port, ':') >= 0 ? "; write an IPv6 address in [brackets]"
								     : "");
	}
	if (host.len == 0)
		return hm_err_set(e, HM_ECONFIG, "redis url: a host name is missing");
	if (host.len >= sizeof(a->host))
		return hm_err_set(e, HM_ECONFIG, "redis url: the host name is longer than %zu bytes",
				  sizeof(a->host) - 1);
	for (size_t i = 0; i < host.len; i++)
		if (!host_char(host.p[i], bracketed))
			return hm_err_set(e, HM_ECONFIG, "redis url: \"%.*s\" is not a host name or address",
					  HM_STRF(host));
	memcpy(a->host, host.p, host.len);
	a->host[host.len] = '\0';
	a->port = (uint16_t)n;
	return 0;
}

static int parse_seeds(struct hm_str hosts, struct hm_redis_url *u, struct hm_err *e)
{
	struct hm_str rest = hosts;

	for (;;) {
		ptrdiff_t comma = hm_str_chr(rest, ',');
		struct hm_str one = comma < 0 ? rest : hm_str_n(rest.p, (size_t)comma);
		int rc;

		if (u->nseeds == HM_REDIS_SEEDS)
			return hm_err_set(e, HM_ECONFIG,
					  "redis url: more than %d hosts; a few of the cluster's "
					  "nodes are enough, the others are found",
					  HM_REDIS_SEEDS);
		rc = parse_host_port(one, &u->seeds[u->nseeds], e);
		if (rc < 0)
			return rc;
		u->nseeds++;
		if (comma < 0)
			return 0;
		rest = hm_str_n(rest.p + comma + 1, rest.len - (size_t)comma - 1);
	}
}

static int parse_db(struct hm_str s, struct hm_redis_url *u, struct hm_err *e)
{
	uint64_t n;

	if (!hm_str_u64(s, &n) || n > 65535)
		return hm_err_set(e, HM_ECONFIG, "redis url: \"%.*s\" is not a database number", HM_STRF(s));
	if (u->cluster && n != 0)
		return hm_err_set(e, HM_ECONFIG, "redis url: a cluster has only database 0");
	u->db = (uint32_t)n;
	return 0;
}

static int parse_unix(struct hm_str rest, struct hm_redis_url *u, struct hm_err *e)
{
	ptrdiff_t q = hm_str_find(rest, HM_STR("?db="));
	struct hm_str path = q < 0 ? rest : hm_str_n(rest.p, (size_t)q);

	if (path.len == 0 || path.p[0] != '/')
		return hm_err_set(
			e, HM_ECONFIG,
			"redis url: unix:// needs an absolute path, as in unix:///run/redis/redis.sock");
	if (path.len >= sizeof(u->unix_path))
		return hm_err_set(e, HM_ECONFIG,
				  "redis url: the socket path has %zu bytes, the system allows %zu", path.len,
				  sizeof(u->unix_path) - 1);
	if (memchr(path.p, '\0', path.len))
		return hm_err_set(e, HM_ECONFIG, "redis url: the socket path holds a NUL byte");
	memcpy(u->unix_path, path.p, path.len);
	u->unix_path[path.len] = '\0';
	return q < 0 ? 0 : parse_db(hm_str_n(rest.p + q + 4, rest.len - (size_t)q - 4), u, e);
}

/* Only the part before the first '/' may hold user and password: a password with a raw '/' is refused
 * by what is left over, a path with '@' is not mistaken for one. */
static ptrdiff_t userinfo_end(struct hm_str rest)
{
	ptrdiff_t at = -1;

	for (size_t i = 0; i < rest.len && rest.p[i] != '/'; i++)
		if (rest.p[i] == '@')
			at = (ptrdiff_t)i; /* the last one: a raw '@' in a password is understood */
	return at;
}

int hm_redis_url_parse(struct hm_str text, struct hm_redis_url *u, struct hm_err *e)
{
	const struct scheme *s = NULL;
	struct hm_str rest, hosts;
	ptrdiff_t at, slash;
	int rc;

	memset(u, 0, sizeof(*u));
	for (size_t i = 0; i < hm_countof(schemes) && s == NULL; i++)
		if (hm_str_starts(text, hm_str_c(schemes[i].prefix)))
			s = &schemes[i];
	if (s == NULL)
		return hm_err_set(
			e, HM_ECONFIG,
			"redis url: it must start with redis://, rediss://, unix://, redis+cluster:// or "
			"rediss+cluster:// (or be the word embedded)");
	u->tls = s->tls;
	u->cluster = s->cluster;
	rest = hm_str_n(text.p + strlen(s->prefix), text.len - strlen(s->prefix));
	at = userinfo_end(rest);
	if (at >= 0) {
		rc = parse_userinfo(hm_str_n(rest.p, (size_t)at), u, e);
		if (rc < 0)
			return rc;
		rest = hm_str_n(rest.p + at + 1, rest.len - (size_t)at - 1);
	}
	if (hm_str_chr(rest, '@') >= 0 && !s->is_unix)
		return hm_err_set(e, HM_ECONFIG,
				  "redis url: a '/' in the user or password must be written %%2F");
	if (s->is_unix)
		return parse_unix(rest, u, e);
	slash = hm_str_chr(rest, '/');
	hosts = slash < 0 ? rest : hm_str_n(rest.p, (size_t)slash);
	if (!s->cluster && hm_str_chr(hosts, ',') >= 0)
		return hm_err_set(e, HM_ECONFIG, "redis url: several hosts need %s",
				  s->tls ? "rediss+cluster://" : "redis+cluster://");
	rc = parse_seeds(hosts, u, e);
	if (rc < 0)
		return rc;
	if (slash >= 0 && (size_t)slash + 1 < rest.len)
		return parse_db(hm_str_n(rest.p + slash + 1, rest.len - (size_t)slash - 1), u, e);
	return 0;
}
