/*
 * check.c - values that are right one by one and wrong together, and what the
 * machine says about the files they name
 */
#include "config/config_int.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

void hm_config_err(const struct hm_config *cfg, const char *section, const char *key, const char *text,
		   struct hm_err *e)
{
	const struct hm_setting_info *row = hm_setting_find(hm_str_c(section), hm_str_c(key));
	size_t i = (size_t)(row - hm_settings_table);
	char name[96];

	snprintf(name, sizeof(name), "%s.%s", section, key);
	if (cfg->at[i].line)
		hm_err_at(e, HM_ECONFIG, cfg->file, cfg->at[i].line, cfg->at[i].col, "%s: %s", name, text);
	else
		hm_err_set(e, HM_ECONFIG, "%s: %s", name, text);
	hm_err_field(e, name);
}

/* A problem of one option, at the line that sets it. */
static void wrong(struct config_load *l, const char *section, const char *key, const char *fmt, ...)
	HM_PRINTF(4, 5);
static void wrong(struct config_load *l, const char *section, const char *key, const char *fmt, ...)
{
	char text[256];
	struct hm_err e;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	hm_config_err(l->cfg, section, key, text, &e);
	config_problem(l, &e);
}

static bool good_url(struct hm_str url)
{
	static const char *const schemes[] = {"redis://", "rediss://", "unix://", "redis+cluster://",
					      "rediss+cluster://"};

	if (hm_str_is(url, "embedded"))
		return true;
	for (size_t i = 0; i < hm_countof(schemes); i++)
		if (hm_str_starts(url, hm_str_c(schemes[i])) && url.len > strlen(schemes[i]))
			return true;
	return false;
}

/* host:port or [v6]:port. Whether the host exists shows at bind. */
static bool split_listen(struct hm_str s, struct hm_str *host_r, uint64_t *port_r)
{
	ptrdiff_t colon = -1;

	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] == ':')
			colon = (ptrdiff_t)i;
	if (colon <= 0 || !hm_str_u64(hm_str_n(s.p + colon + 1, s.len - (size_t)colon - 1), port_r) ||
	    *port_r > 65535)
		return false;
	*host_r = hm_str_n(s.p, (size_t)colon);
	if (s.p[0] == '[') {
		if (host_r->len < 4 || host_r->p[host_r->len - 1] != ']')
			return false;
		*host_r = hm_str_n(host_r->p + 1, host_r->len - 2);
		return true;
	}
	return hm_str_chr(*host_r, ':') < 0;
}

static bool is_loopback(struct hm_str host)
{
	return hm_str_starts(host, HM_STR("127.")) || hm_str_is(host, "localhost") || hm_str_is(host, "::1");
}

static void check_outcomes(struct config_load *l, const struct hm_settings *s)
{
	for (size_t i = 0; i < s->queue.dead_letter_outcomes.n; i++) {
		struct hm_str o = hm_str_trim(s->queue.dead_letter_outcomes.v[i]);

		if (!hm_str_is(o, "none") && hm_outcome_find(o) < 0)
			wrong(l, "queue", "dead_letter_outcomes",
			      "\"%.*s\" is no outcome: they are retry, rate_limited, invalid_recipient, "
			      "bad_request, "
			      "auth, provider_down, unknown, and none",
			      HM_STRF(o));
	}
}

static void check_listen(struct config_load *l, const struct hm_settings *s)
{
	for (size_t i = 0; i < s->http.listen.n; i++) {
		struct hm_str addr = s->http.listen.v[i], host;
		uint64_t port;

		if (!split_listen(addr, &host, &port))
			wrong(l, "http", "listen", "\"%.*s\" is not host:port or [v6]:port", HM_STRF(addr));
		else if (s->http.auth.index == HM_AUTH_OFF && !is_loopback(host))
			wrong(l, "http", "auth", "off is refused while http.listen leaves loopback (%.*s)",
			      HM_STRF(addr));
	}
}

static bool word(struct hm_str s, const char *extra)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      strchr(extra, c)))
			return false;
	}
	return s.len > 0;
}

void config_check_settings(struct config_load *l)
{
	const struct hm_settings *s = &l->cfg->settings;
	struct hm_err e;

	if (!good_url(s->redis.url))
		wrong(l, "redis", "url",
		      "expected embedded, or a URL that starts with redis://, rediss://, unix://, "
		      "redis+cluster:// or rediss+cluster://");
	if ((s->redis.cert_file.len == 0) != (s->redis.key_file.len == 0))
		wrong(l, "redis", s->redis.cert_file.len ? "cert_file" : "key_file",
		      "cert_file and key_file go together");
	if (!word(s->queue.prefix, "_.-"))
		wrong(l, "queue", "prefix",
		      "letters, digits, _ . - only: it stands inside the hash tag of every key");
	if (!word(s->queue.group, "_.-:"))
		wrong(l, "queue", "group", "letters, digits, _ . - : only");
	if (s->queue.claim_after_ms < 3 * s->queue.heartbeat_ms)
		wrong(l, "queue", "claim_after",
		      "must be at least three times queue.heartbeat, or live work is taken away");
	if (s->dispatch.retry_base_ms > s->dispatch.retry_max_ms)
		wrong(l, "dispatch", "retry_base", "must not be longer than dispatch.retry_max");
	if (s->redis.command_timeout_ms <= s->queue.block_ms)
		wrong(l, "queue", "block",
		      "must be shorter than redis.command_timeout, or every idle read looks like a dead "
		      "connection");
	check_listen(l, s);
	check_outcomes(l, s);
	if ((s->http.tls_cert.len == 0) != (s->http.tls_key.len == 0))
		wrong(l, "http", s->http.tls_cert.len ? "tls_cert" : "tls_key",
		      "tls_cert and tls_key go together");
	if (hm_log_check_levels(s->log.level, &e) < 0)
		wrong(l, "log", "level", "%s", e.text);
}

/* -- what the machine says ------------------------------------------------------- */

static void check_readable(struct config_load *l, const char *section, const char *key, struct hm_str path)
{
	if (path.len && access(path.p, R_OK) < 0)
		wrong(l, section, key, "%s cannot be read: %s", path.p, strerror(errno));
}

static void check_dir(struct config_load *l, const char *section, const char *key, struct hm_str path,
		      bool must_exist)
{
	struct stat st;

	if (stat(path.p, &st) < 0) {
		if (must_exist || errno != ENOENT)
			wrong(l, section, key, "%s: %s", path.p, strerror(errno));
	} else if (!S_ISDIR(st.st_mode)) {
		wrong(l, section, key, "%s is not a folder", path.p);
	} else if (access(path.p, R_OK | X_OK) < 0) {
		wrong(l, section, key, "%s cannot be read: %s", path.p, strerror(errno));
	}
}

/* A folder that is written to: it, or the nearest parent that exists, must allow it. */
static void check_writable(struct config_load *l, const char *section, const char *key, struct hm_str dir)
{
	char path[1024];
	size_t n = hm_min(dir.len, sizeof(path) - 1);
	struct stat st;

	memcpy(path, dir.p, n);
	path[n] = '\0';
	if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
		wrong(l, section, key, "%s is not a folder", path);
		return;
	}
	while (access(path, W_OK | X_OK) < 0) {
		char *slash;

		if (errno != ENOENT) {
			if (hm_str_is(dir, path))
				wrong(l, section, key, "%s cannot be written to: %s", path, strerror(errno));
			else
				wrong(l, section, key, "%s cannot be made: %s: %s", dir.p, path,
				      strerror(errno));
			return;
		}
		slash = strrchr(path, '/');
		if (slash == NULL)
			memcpy(path, ".", 2);
		else if (slash == path)
			path[1] = '\0';
		else
			*slash = '\0';
	}
}

/* It, or the folder it will be made in, must allow writing. */
static void check_log_file(struct config_load *l, struct hm_str file)
{
	char folder[1024];
	const char *slash = strrchr(file.p, '/');

	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - file.p) + 1 : 1, slash ? file.p : ".");
	if (access(file.p, W_OK) < 0 && (errno != ENOENT || access(folder, W_OK | X_OK) < 0))
		wrong(l, "log", "file", "%s cannot be written to: %s", file.p, strerror(errno));
}

/* By path, or by name in PATH. */
static void check_program(struct config_load *l, const char *section, const char *key, struct hm_str name)
{
	const char *path = getenv("PATH");
	struct hm_str dirs = hm_str_c(path ? path : "/usr/local/bin:/usr/bin:/bin"), dir;
	char file[4096];

	if (hm_str_chr(name, '/') >= 0) {
		if (access(name.p, X_OK) < 0)
			wrong(l, section, key, "%s cannot be run: %s", name.p, strerror(errno));
		return;
	}
	while (hm_str_split(&dirs, ':', &dir)) {
		snprintf(file, sizeof(file), "%.*s/%s", HM_STRF(dir), name.p);
		if (access(file, X_OK) == 0)
			return;
	}
	wrong(l, section, key,
	      "the program %s was not found; install Debian's package redis-server, or set redis.url to a "
	      "server of yours",
	      name.p);
}

size_t hm_config_check(const struct hm_config *cfg, hm_report_fn report, void *arg)
{
	/* config_load wants the type of a load; nothing is written here. */
	struct config_load l = {.cfg = (struct hm_config *)(uintptr_t)cfg, .report = report, .arg = arg};
	const struct hm_settings *s = &cfg->settings;
	size_t before;

	check_readable(&l, "redis", "ca_file", s->redis.ca_file);
	check_readable(&l, "redis", "cert_file", s->redis.cert_file);
	check_readable(&l, "redis", "key_file", s->redis.key_file);
	check_readable(&l, "http", "tls_cert", s->http.tls_cert);
	check_readable(&l, "http", "tls_key", s->http.tls_key);
	check_readable(&l, "wire", "ca_file", s->wire.ca_file);
	check_dir(&l, "adapters", "dir", s->adapters.dir, true);
	if (s->templates.dir.len)
		check_dir(&l, "templates", "dir", s->templates.dir, false);
	before = l.problems;
	check_writable(&l, "node", "data_dir", s->node.data_dir);
	if (l.problems == before || !hm_str_starts(s->ledger.dir, s->node.data_dir))
		check_writable(&l, "ledger", "dir", s->ledger.dir);
	if (s->log.file.len)
		check_log_file(&l, s->log.file);
	if (hm_str_is(s->redis.url, "embedded"))
		check_program(&l, "redis", "binary", s->redis.binary);
	return l.problems;
}
