/*
 * source.c - where a fact's values are: Redis clients and HTTP origins, made once and shared
 */
#include <stdlib.h>

#include "base/log.h"
#include "facts/facts_int.h"
#include "loop/tls.h"
#include "redis/url.h"

/* -- redis ------------------------------------------------------------------------------------------ */

static void on_state(void *arg, bool up, const struct hm_err *why)
{
	struct fact_source *s = arg;

	HM_CHECK(s, HM_FACT_SOURCE_MAGIC);
	if (s->refs == 0)
		return;
	if (up)
		HM_INFO(FACTS, "the Redis of a fact is there", HM_SV("fact", s->conf->name));
	else if (why != NULL)
		HM_WARN(FACTS, "the Redis of a fact is away", HM_SV("fact", s->conf->name), HM_E(why));
}

static void on_source_closed(void *arg)
{
	struct fact_source *s = arg;
	struct hm_facts *f = s->f;

	HM_CHECK(s, HM_FACT_SOURCE_MAGIC);
	hm_config_unref(s->cfg);
	HM_MAGIC_CLEAR(s);
	free(s);
	f->open_sources--;
	fact_maybe_closed(f);
}

void fact_source_put(struct fact_source *s)
{
	HM_CHECK(s, HM_FACT_SOURCE_MAGIC);
	hm_assert(s->refs > 0);
	if (--s->refs > 0)
		return;
	hm_list_remove(&s->f->sources, &s->node);
	hm_redis_close(s->redis, on_source_closed, s);
}

static bool same_server(const struct hm_fact_conf *a, const struct hm_fact_conf *b)
{
	return hm_str_eq(a->redis, b->redis) && hm_str_eq(a->ca_file, b->ca_file) &&
	       hm_str_eq(a->cert_file, b->cert_file) && hm_str_eq(a->key_file, b->key_file) &&
	       a->tls_verify == b->tls_verify;
}

static bool verifies(const struct hm_config *cfg, const struct hm_fact_conf *c)
{
	if (c->tls_verify >= 0)
		return c->tls_verify;
	return c->from == HM_FACT_HTTP ? cfg->settings.wire.tls_verify : cfg->settings.redis.tls_verify;
}

static int open_source(struct fact *fa, struct hm_err *e)
{
	const struct hm_settings *set = &fa->cfg->settings;
	struct hm_facts *f = fa->f;
	struct hm_redis_opts o = {
		.url = fa->conf->redis,
		.ca_file = fa->conf->ca_file,
		.cert_file = fa->conf->cert_file,
		.key_file = fa->conf->key_file,
		.tls_verify = verifies(fa->cfg, fa->conf),
		.connect_timeout_ms = (uint32_t)set->redis.connect_timeout_ms,
		.command_timeout_ms = (uint32_t)set->redis.command_timeout_ms,
		.max_pending = 100000,
		.client_name = HM_STR("hermod-facts"),
	};
	struct fact_source *s;

	hm_list_foreach (&f->sources, n) {
		s = hm_container_of(n, struct fact_source, node);
		if (same_server(s->conf, fa->conf)) {
			s->refs++;
			fa->source = s;
			return 0;
		}
	}
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	if (hm_redis_new(f->tick, &o, &s->redis, e) != 0) {
		free(s);
		return e->code;
	}
	HM_MAGIC_SET(s, HM_FACT_SOURCE_MAGIC);
	s->f = f;
	s->refs = 1;
	s->cfg = hm_config_ref(fa->cfg);
	s->conf = fa->conf;
	hm_list_push(&f->sources, &s->node);
	f->open_sources++;
	hm_redis_on_state(s->redis, on_state, s);
	fa->source = s;
	return 0;
}

/* -- http ------------------------------------------------------------------------------------------- */

static int origin_of(const struct hm_config *cfg, const struct hm_fact_conf *c, struct hm_origin_opts *o,
		     struct hm_str *path_r, struct hm_err *e)
{
	static const enum hm_http_version versions[] = {HM_HTTP_AUTO, HM_HTTP_1, HM_HTTP_2, HM_HTTP_2_PRIOR};

	*o = (struct hm_origin_opts){
		.verify = verifies(cfg, c),
		.version = versions[c->http],
		.ca_file = c->ca_file,
		.cert_file = c->cert_file,
		.key_file = c->key_file,
	};
	return hm_wire_parse_url(c->url, o, path_r, e);
}

int fact_open(struct fact *fa, struct hm_err *e)
{
	struct hm_origin_opts o;

	if (fa->conf->from == HM_FACT_HTTP) {
		if (origin_of(fa->cfg, fa->conf, &o, &fa->path, e) != 0)
			return e->code;
		return hm_wire_origin(fa->f->wire, &o, &fa->origin, e);
	}
	if (fa->conf->redis.len > 0) {
		if (open_source(fa, e) != 0)
			return e->code;
		fa->redis = fa->source->redis;
	} else {
		fa->redis = fa->f->redis;
	}
	return 0;
}

/* -- keys ------------------------------------------------------------------------------------------- */

struct hm_str fact_key(struct hm_str form, struct hm_str key, bool percent, struct hm_arena *a)
{
	struct hm_buf b;
	ptrdiff_t at;

	hm_buf_init_arena(&b, a, form.len * (1 + HM_FACTS_KEY_MAX) + 3 * HM_FACTS_KEY_MAX + 64);
	while ((at = hm_str_find(form, HM_STR("{key}"))) >= 0) {
		hm_buf_put(&b, form.p, (size_t)at);
		if (percent)
			hm_buf_percent(&b, key);
		else
			hm_buf_puts(&b, key);
		form = hm_str_n(form.p + at + 5, form.len - (size_t)at - 5);
	}
	hm_buf_puts(&b, form);
	if (b.err)
		return HM_STR_NULL;
	return b.p ? hm_buf_str(&b) : HM_STR("");
}

/* -- what can be found out before the start -------------------------------------------------------------- */

static size_t report_at(const struct hm_fact_conf *c, const char *key, struct hm_err *why,
			hm_report_fn report, void *arg)
{
	const struct hm_yaml *n = key ? hm_yaml_get(c->node, key) : NULL;
	struct hm_err e;

	hm_err_clear(&e);
	hm_err_at(&e, HM_ECONFIG, c->file, n ? n->line : c->line, n ? n->col : 1, "fact %s: %s", c->name.p,
		  why->text);
	report(arg, &e);
	return 1;
}

static size_t check_one(const struct hm_config *cfg, const struct hm_fact_conf *c, hm_report_fn report,
			void *arg)
{
	struct hm_tls_opts tls = {.verify = verifies(cfg, c),
				  .ca_file = c->ca_file,
				  .cert_file = c->cert_file,
				  .key_file = c->key_file};
	struct hm_origin_opts o;
	struct hm_redis_url u;
	struct hm_str path;
	struct hm_tls *t;
	struct hm_err e;
	bool secure;

	hm_err_clear(&e);
	if (c->from == HM_FACT_HTTP) {
		if (origin_of(cfg, c, &o, &path, &e) != 0)
			return report_at(c, "url", &e, report, arg);
		secure = o.tls;
	} else if (c->redis.len > 0) {
		if (hm_redis_url_parse(c->redis, &u, &e) != 0)
			return report_at(c, "redis", &e, report, arg);
		secure = u.tls;
	} else {
		return 0;
	}
	if (!secure) {
		if (c->ca_file.len == 0 && c->cert_file.len == 0)
			return 0;
		hm_err_set(&e, HM_ECONFIG, "certificates are of no use without TLS (https://, rediss://)");
		return report_at(c, c->ca_file.len ? "ca_file" : "cert_file", &e, report, arg);
	}
	if (hm_tls_new(&tls, &t, &e) != 0)
		return report_at(c,
				 c->cert_file.len ? "cert_file"
				 : c->ca_file.len ? "ca_file"
						  : NULL,
				 &e, report, arg);
	hm_tls_unref(t);
	return 0;
}

size_t hm_facts_check(const struct hm_config *cfg, hm_report_fn report, void *arg)
{
	size_t n = 0;

	for (size_t i = 0; i < cfg->n_facts; i++)
		n += check_one(cfg, &cfg->facts[i], report, arg);
	return n;
}
