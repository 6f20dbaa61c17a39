/*
 * preflight.c - settings tried out before the start
 */
#include "core/preflight.h"

#include "inbox/inbox.h"
#include "loop/tls.h"
#include "redis/url.h"

struct preflight {
	const struct hm_config *cfg;
	hm_report_fn report;
	void *arg;
	size_t problems;
};

static void problem(struct preflight *p, const char *section, const char *key, const struct hm_err *why)
{
	struct hm_err e;

	hm_config_err(p->cfg, section, key, why->text, &e);
	p->report(p->arg, &e);
	p->problems++;
}

static void check_tls(struct preflight *p, const char *section, const char *key, const struct hm_tls_opts *o)
{
	struct hm_tls *tls;
	struct hm_err e = {0};

	if (hm_tls_new(o, &tls, &e) != 0)
		problem(p, section, key, &e);
	else
		hm_tls_unref(tls);
}

static void check_inbox(struct preflight *p, const struct hm_settings *s)
{
	struct hm_err e = {0};
	const char *key;

	if (hm_inbox_check(s, &key, &e) != 0)
		problem(p, "inbox", key, &e);
}

size_t hm_preflight(const struct hm_config *cfg, hm_report_fn report, void *arg)
{
	const struct hm_settings *s = &cfg->settings;
	struct preflight p = {.cfg = cfg, .report = report, .arg = arg};
	struct hm_redis_url url;
	struct hm_err e = {0};

	p.problems = hm_config_check(cfg, report, arg);
	if (p.problems) /* a file that is not there would be complained about twice */
		return p.problems;
	if (!hm_str_is(s->redis.url, "embedded")) {
		if (hm_redis_url_parse(s->redis.url, &url, &e) != 0)
			problem(&p, "redis", "url", &e);
		else if (url.tls)
			check_tls(&p, "redis", s->redis.cert_file.len ? "cert_file" : "ca_file",
				  &(struct hm_tls_opts){.verify = s->redis.tls_verify,
							.ca_file = s->redis.ca_file,
							.cert_file = s->redis.cert_file,
							.key_file = s->redis.key_file});
	}
	if (s->http.tls_cert.len)
		check_tls(&p, "http", "tls_cert",
			  &(struct hm_tls_opts){.server = true,
						.cert_file = s->http.tls_cert,
						.key_file = s->http.tls_key});
	if (s->wire.ca_file.len)
		check_tls(&p, "wire", "ca_file",
			  &(struct hm_tls_opts){.verify = true, .ca_file = s->wire.ca_file});
	check_inbox(&p, s);
	return p.problems;
}
