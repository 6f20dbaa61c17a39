/*
 * knobs.c - reading, resolving and showing the knobs
 */
#include "knobs.h"

#include <math.h>
#include <stdlib.h>

#include "profile.h"
#include "worker.h"

static const char *const fault_names[] = {
#define SINK_FAULT(name, text, doc) text,
#include "tbl_faults.h"
#undef SINK_FAULT
};

const char *sink_fault_name(enum sink_fault f)
{
	return (unsigned)f < FAULT_COUNT ? fault_names[f] : "?";
}

int sink_fault_find(struct hm_str s)
{
	for (int i = 0; i < FAULT_COUNT; i++)
		if (hm_str_is(s, fault_names[i]))
			return i;
	return -1;
}

void knobs_init(struct sink_knobs *k)
{
	memset(k, 0, sizeof(*k));
	k->conn = (struct knobs_conn){
		.max_streams = 1000,
		.stream_window = 1 << 20,
		.window = 16 << 20,
		.max_frame = 16384,
		.huge_bytes = 64 << 20,
		.trickle_ms = 1000,
	};
	for (size_t i = 0; i < SINK_MAX_PROFILES; i++)
		k->own[i].rate_retry_after = k->p[i].rate_retry_after = 1;
}

int knobs_fault(const struct hm_yaml *n, enum sink_fault *f_r, struct hm_err *e)
{
	struct hm_str s;
	int rc = hm_yaml_str(n, &s, e), f;
	char list[256];
	size_t len = 0;

	if (rc)
		return rc;
	f = sink_fault_find(s);
	if (f >= 0) {
		*f_r = (enum sink_fault)f;
		return 0;
	}
	for (size_t i = 0; i < hm_countof(fault_names); i++)
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", i ? ", " : "",
					fault_names[i]);
	return hm_yaml_err(n, e, HM_EINVAL, "unknown fault '%.*s', expected one of %s", HM_STRF(s), list);
}

int knobs_double(const struct hm_yaml *n, double min, double max, double *v_r, struct hm_err *e)
{
	struct hm_str s;
	char *end;
	double v;
	int rc = hm_yaml_str(n, &s, e);

	if (rc)
		return rc;
	v = strtod(s.p, &end);
	if (s.len == 0 || end != s.p + s.len || !isfinite(v) || v < min || v > max)
		return hm_yaml_err(n, e, HM_EINVAL, "'%.*s' is not a number from %g to %g", HM_STRF(s), min,
				   max);
	*v_r = v;
	return 0;
}

static bool is_null(const struct hm_yaml *n)
{
	return n->type == HM_YAML_NULL ||
	       (n->type == HM_YAML_SCALAR && !n->quoted && hm_str_is(n->text, "null"));
}

/* Optional number members of a map. */
static int read_double(const struct hm_yaml *map, const char *key, double max, double *v, struct hm_err *e)
{
	const struct hm_yaml *n = hm_yaml_get(map, key);

	return n ? knobs_double(n, 0, max, v, e) : 0;
}

static int read_i64(const struct hm_yaml *map, const char *key, int64_t min, int64_t max, int64_t *v,
		    struct hm_err *e)
{
	const struct hm_yaml *n = hm_yaml_get(map, key);

	return n ? hm_yaml_i64(n, min, max, v, e) : 0;
}

#define LATENCY_MAX 600000.0

static int read_latency(const struct hm_yaml *n, struct knobs_latency *l, struct hm_err *e)
{
	static const char *const keys[] = {"kind",  "ms",      "min_ms", "max_ms", "median_ms",
					   "sigma", "mean_ms", "cap_ms", NULL};
	static const struct {
		const char *name;
		enum latency_kind kind;
		const char *a, *b;
	} kinds[] = {
		{"none", LATENCY_NONE, NULL, NULL},
		{"fixed", LATENCY_FIXED, "ms", NULL},
		{"uniform", LATENCY_UNIFORM, "min_ms", "max_ms"},
		{"lognormal", LATENCY_LOGNORMAL, "median_ms", "sigma"},
		{"exponential", LATENCY_EXPONENTIAL, "mean_ms", NULL},
	};
	const struct hm_yaml *kind;
	struct hm_str name = HM_STR("fixed");
	int rc;

	memset(l, 0, sizeof(*l));
	if (n->type == HM_YAML_SCALAR) { /* latency: 5 */
		l->kind = LATENCY_FIXED;
		return knobs_double(n, 0, LATENCY_MAX, &l->a, e);
	}
	rc = hm_yaml_known(n, keys, e);
	kind = hm_yaml_get(n, "kind");
	if (rc == 0 && kind)
		rc = hm_yaml_str(kind, &name, e);
	if (rc)
		return rc;
	for (size_t i = 0; i < hm_countof(kinds); i++) {
		if (!hm_str_is(name, kinds[i].name))
			continue;
		l->kind = kinds[i].kind;
		if ((kinds[i].a && !hm_yaml_get(n, kinds[i].a)) ||
		    (kinds[i].b && !hm_yaml_get(n, kinds[i].b)))
			return hm_yaml_err(n, e, HM_EINVAL, "latency of kind %s needs %s%s%s", kinds[i].name,
					   kinds[i].a, kinds[i].b ? " and " : "",
					   kinds[i].b ? kinds[i].b : "");
		if (kinds[i].a)
			rc = read_double(n, kinds[i].a, LATENCY_MAX, &l->a, e);
		if (rc == 0 && kinds[i].b)
			rc = read_double(n, kinds[i].b, LATENCY_MAX, &l->b, e);
		if (rc == 0)
			rc = read_double(n, "cap_ms", LATENCY_MAX, &l->cap_ms, e);
		return rc;
	}
	return hm_yaml_err(
		kind ? kind : n, e, HM_EINVAL,
		"unknown latency kind '%.*s', expected none, fixed, uniform, lognormal or exponential",
		HM_STRF(name));
}

static int read_mix_row(const struct hm_yaml *n, struct knobs_mix *m, struct hm_err *e)
{
	static const char *const keys[] = {"percent", "status", "retry_after", "fault", "accept", NULL};
	int64_t status = 0, retry = -1;
	const struct hm_yaml *f = hm_yaml_get(n, "fault"), *a = hm_yaml_get(n, "accept");
	int rc = hm_yaml_known(n, keys, e);

	memset(m, 0, sizeof(*m));
	if (rc == 0 && !hm_yaml_get(n, "percent"))
		rc = hm_yaml_err(n, e, HM_EINVAL, "a row of mix needs percent, and status or fault");
	if (rc == 0)
		rc = read_double(n, "percent", 100, &m->percent, e);
	if (rc == 0)
		rc = read_i64(n, "status", 200, 599, &status, e);
	if (rc == 0)
		rc = read_i64(n, "retry_after", 0, 86400, &retry, e);
	if (rc == 0 && f)
		rc = knobs_fault(f, &m->fault, e);
	if (rc == 0 && a) {
		m->accept_set = true;
		rc = hm_yaml_bool(a, &m->accept, e);
	}
	if (rc == 0 && status == 0 && m->fault == FAULT_NONE)
		rc = hm_yaml_err(n, e, HM_EINVAL, "a row of mix needs status or fault beside percent");
	m->status = (int)status;
	m->retry_after = (int)retry;
	return rc;
}

static int read_mix(const struct hm_yaml *n, struct knobs_profile *p, struct hm_err *e)
{
	double sum = 0;

	p->n_mix = 0;
	if (n->type != HM_YAML_SEQ)
		return hm_yaml_err(n, e, HM_ETYPE, "mix must be a list of {percent, status | fault}");
	for (const struct hm_yaml *c = n->first; c; c = c->next) {
		int rc;

		if (p->n_mix == KNOBS_MIX)
			return hm_yaml_err(c, e, HM_ELIMIT, "mix has more than %d rows", KNOBS_MIX);
		rc = read_mix_row(c, &p->mix[p->n_mix], e);
		if (rc)
			return rc;
		sum += p->mix[p->n_mix++].percent;
	}
	if (sum > 100.0001)
		return hm_yaml_err(n, e, HM_EINVAL, "the percentages of mix add up to %g, more than 100",
				   sum);
	return 0;
}

static int read_rate(const struct hm_yaml *n, struct knobs_profile *p, struct hm_err *e)
{
	static const char *const keys[] = {"per_second", "burst", "retry_after", NULL};
	int64_t retry = 1;
	int rc;

	p->rate_per_s = p->rate_burst = 0;
	p->rate_retry_after = 1;
	if (n->type == HM_YAML_SCALAR)
		rc = knobs_double(n, 0, 1e9, &p->rate_per_s, e);
	else {
		rc = hm_yaml_known(n, keys, e);
		if (rc == 0)
			rc = read_double(n, "per_second", 1e9, &p->rate_per_s, e);
		if (rc == 0)
			rc = read_double(n, "burst", 1e9, &p->rate_burst, e);
		if (rc == 0)
			rc = read_i64(n, "retry_after", -1, 86400, &retry, e);
		p->rate_retry_after = (int)retry;
	}
	if (p->rate_burst < 1)
		p->rate_burst = p->rate_per_s > 1 ? p->rate_per_s : 1;
	return rc;
}

static int read_special(const struct hm_yaml *n, unsigned profile, struct knobs_profile *p, struct hm_err *e)
{
	p->n_special = 0;
	if (n->type != HM_YAML_MAP)
		return hm_yaml_err(n, e, HM_ETYPE, "special must map prefixes to names of special answers");
	for (const struct hm_yaml *c = n->first; c; c = c->next) {
		struct knobs_special *s = &p->special[p->n_special];
		struct hm_str v;
		int rc = hm_yaml_str(c, &v, e);

		if (rc)
			return rc;
		if (p->n_special == KNOBS_SPECIAL)
			return hm_yaml_err(c, e, HM_ELIMIT, "special has more than %d rows", KNOBS_SPECIAL);
		if (c->key.len >= sizeof(s->prefix) || v.len >= sizeof(s->row))
			return hm_yaml_err(c, e, HM_ELIMIT, "the prefix or the name is too long");
		if (!sink_special_named(profile, v))
			return hm_yaml_err(
				c, e, HM_EINVAL,
				"profile %s has no special answer '%.*s' (see GET /control/profiles)",
				sink_profile_name(profile), HM_STRF(v));
		memset(s, 0, sizeof(*s));
		memcpy(s->prefix, c->key.p, c->key.len);
		memcpy(s->row, v.p, v.len);
		p->n_special++;
	}
	return 0;
}

static int read_profile(struct sink_knobs *k, const struct hm_yaml *n, struct hm_err *e)
{
	static const char *const keys[] = {"latency", "mix",	   "rate_limit", "fault",
					   "special", "token_ttl", NULL};
	int index = sink_profile_find(n->key);
	struct knobs_profile *p;
	int rc;

	if (index < 0)
		return hm_yaml_err(n, e, HM_EINVAL, "there is no profile '%.*s' (see hermod-sink --help)",
				   HM_STRF(n->key));
	p = &k->own[index];
	if (n->type != HM_YAML_MAP && !is_null(n))
		return hm_yaml_err(n, e, HM_ETYPE, "the knobs of profile %.*s must be a map",
				   HM_STRF(n->key));
	if (is_null(n)) { /* profile: null forgets all its knobs */
		memset(p, 0, sizeof(*p));
		p->rate_retry_after = 1;
		return 0;
	}
	rc = hm_yaml_known(n, keys, e);
	for (const struct hm_yaml *c = n->first; rc == 0 && c; c = c->next) {
		bool null = is_null(c);
		unsigned bit = 0;

		if (hm_str_is(c->key, "latency")) {
			bit = SET_LATENCY;
			memset(&p->latency, 0, sizeof(p->latency));
			rc = null ? 0 : read_latency(c, &p->latency, e);
		} else if (hm_str_is(c->key, "mix")) {
			bit = SET_MIX;
			p->n_mix = 0;
			rc = null ? 0 : read_mix(c, p, e);
		} else if (hm_str_is(c->key, "rate_limit")) {
			bit = SET_RATE;
			p->rate_per_s = 0;
			rc = null ? 0 : read_rate(c, p, e);
		} else if (hm_str_is(c->key, "fault")) {
			bit = SET_FAULT;
			p->fault = FAULT_NONE;
			rc = null ? 0 : knobs_fault(c, &p->fault, e);
		} else if (hm_str_is(c->key, "special")) {
			bit = SET_SPECIAL;
			p->n_special = 0;
			rc = null ? 0 : read_special(c, (unsigned)index, p, e);
		} else {
			bit = SET_TTL;
			p->token_ttl_s = 0;
			rc = null ? 0 : hm_yaml_i64(c, 1, 31536000, &p->token_ttl_s, e);
		}
		p->set = null ? p->set & ~bit : p->set | bit;
	}
	return rc;
}

static int read_conn(struct knobs_conn *c, const struct hm_yaml *n, struct hm_err *e)
{
	static const char *const keys[] = {"max_streams", "first_streams",     "stream_window",
					   "window",	  "max_frame",	       "goaway_after",
					   "close_after", "close_after_bytes", "huge_bytes",
					   "trickle_ms",  "goaway_debug",      NULL};
	const struct {
		const char *key;
		int64_t min, max, *v;
	} rows[] = {
		{"max_streams", 0, 1000000, &c->max_streams},
		{"first_streams", 0, 1000000, &c->first_streams},
		{"stream_window", 0, INT32_MAX, &c->stream_window},
		{"window", 65535, INT32_MAX, &c->window},
		{"max_frame", 16384, 16777215, &c->max_frame},
		{"goaway_after", 0, INT64_MAX, &c->goaway_after},
		{"close_after", 0, INT64_MAX, &c->close_after},
		{"close_after_bytes", 0, INT64_MAX, &c->close_after_bytes},
		{"huge_bytes", 0, (int64_t)1 << 40, &c->huge_bytes},
		{"trickle_ms", 1, 600000, &c->trickle_ms},
	};
	const struct hm_yaml *d = hm_yaml_get(n, "goaway_debug");
	struct hm_str s;
	int rc = hm_yaml_known(n, keys, e);

	for (size_t i = 0; rc == 0 && i < hm_countof(rows); i++)
		rc = read_i64(n, rows[i].key, rows[i].min, rows[i].max, rows[i].v, e);
	if (rc == 0 && d) {
		rc = hm_yaml_str(d, &s, e);
		if (rc == 0 && s.len >= sizeof(c->goaway_debug))
			rc = hm_yaml_err(d, e, HM_ELIMIT, "goaway_debug is longer than %zu bytes",
					 sizeof(c->goaway_debug) - 1);
		if (rc == 0) {
			memset(c->goaway_debug, 0, sizeof(c->goaway_debug));
			memcpy(c->goaway_debug, s.p, s.len);
		}
	}
	return rc;
}

static void resolve(struct sink_knobs *k)
{
	const struct knobs_profile *d = &k->own[0];

	for (size_t i = 0; i < SINK_MAX_PROFILES; i++) {
		struct knobs_profile *o = &k->p[i];

		*o = k->own[i];
		if (!(o->set & SET_LATENCY))
			o->latency = d->latency;
		if (!(o->set & SET_MIX)) {
			memcpy(o->mix, d->mix, sizeof(o->mix));
			o->n_mix = d->n_mix;
		}
		if (!(o->set & SET_RATE)) {
			o->rate_per_s = d->rate_per_s;
			o->rate_burst = d->rate_burst;
			o->rate_retry_after = d->rate_retry_after;
		}
		if (!(o->set & SET_FAULT))
			o->fault = d->fault;
		if (!(o->set & SET_TTL))
			o->token_ttl_s = d->token_ttl_s;
	}
}

int knobs_apply(struct sink_knobs *k, const struct hm_yaml *doc, struct hm_err *e)
{
	const struct hm_yaml *profiles = hm_yaml_get(doc, "profiles"), *conn = hm_yaml_get(doc, "connection");
	int rc = 0;

	if (profiles && profiles->type != HM_YAML_MAP)
		rc = hm_yaml_err(profiles, e, HM_ETYPE, "profiles must be a map of profile names");
	if (rc == 0 && conn && conn->type != HM_YAML_MAP)
		rc = hm_yaml_err(conn, e, HM_ETYPE, "connection must be a map");
	for (const struct hm_yaml *n = rc == 0 && profiles ? profiles->first : NULL; rc == 0 && n;
	     n = n->next)
		rc = read_profile(k, n, e);
	if (rc == 0 && conn)
		rc = read_conn(&k->conn, conn, e);
	resolve(k);
	return rc;
}

static void json_latency(const struct knobs_latency *l, struct hm_buf *out)
{
	switch (l->kind) {
	case LATENCY_NONE: hm_buf_lit(out, "{\"kind\":\"none\""); break;
	case LATENCY_FIXED: hm_buf_printf(out, "{\"kind\":\"fixed\",\"ms\":%g", l->a); break;
	case LATENCY_UNIFORM:
		hm_buf_printf(out, "{\"kind\":\"uniform\",\"min_ms\":%g,\"max_ms\":%g", l->a, l->b);
		break;
	case LATENCY_LOGNORMAL:
		hm_buf_printf(out, "{\"kind\":\"lognormal\",\"median_ms\":%g,\"sigma\":%g", l->a, l->b);
		break;
	case LATENCY_EXPONENTIAL: hm_buf_printf(out, "{\"kind\":\"exponential\",\"mean_ms\":%g", l->a); break;
	}
	if (l->cap_ms > 0)
		hm_buf_printf(out, ",\"cap_ms\":%g", l->cap_ms);
	hm_buf_putc(out, '}');
}

static void json_profile(const struct knobs_profile *p, struct hm_buf *out)
{
	hm_buf_lit(out, "{\"latency\":");
	json_latency(&p->latency, out);
	hm_buf_lit(out, ",\"mix\":[");
	for (size_t i = 0; i < p->n_mix; i++) {
		const struct knobs_mix *m = &p->mix[i];

		hm_buf_printf(out, "%s{\"percent\":%g", i ? "," : "", m->percent);
		if (m->status)
			hm_buf_printf(out, ",\"status\":%d", m->status);
		if (m->retry_after >= 0)
			hm_buf_printf(out, ",\"retry_after\":%d", m->retry_after);
		if (m->fault)
			hm_buf_printf(out, ",\"fault\":\"%s\"", sink_fault_name(m->fault));
		if (m->accept_set)
			hm_buf_printf(out, ",\"accept\":%s", m->accept ? "true" : "false");
		hm_buf_putc(out, '}');
	}
	hm_buf_printf(out,
		      "],\"rate_limit\":{\"per_second\":%g,\"burst\":%g,\"retry_after\":%d},\"fault\":\"%s\","
		      "\"special\":{",
		      p->rate_per_s, p->rate_burst, p->rate_retry_after, sink_fault_name(p->fault));
	for (size_t i = 0; i < p->n_special; i++) {
		hm_buf_printf(out, "%s\"", i ? "," : "");
		hm_buf_json(out, hm_str_c(p->special[i].prefix));
		hm_buf_printf(out, "\":\"%s\"", p->special[i].row);
	}
	hm_buf_printf(out, "},\"token_ttl\":%lld}", (long long)p->token_ttl_s);
}

void knobs_json(const struct sink_knobs *k, struct hm_buf *out)
{
	const struct knobs_conn *c = &k->conn;

	hm_buf_lit(out, "{\"profiles\":{");
	for (unsigned i = 0; i < sink_profile_count(); i++) {
		hm_buf_printf(out, "%s\"%s\":", i ? "," : "", sink_profile_name(i));
		json_profile(&k->p[i], out);
	}
	hm_buf_printf(
		out,
		"},\"connection\":{\"max_streams\":%lld,\"first_streams\":%lld,\"stream_window\":%lld,"
		"\"window\":%lld,"
		"\"max_frame\":%lld,\"goaway_after\":%lld,\"close_after\":%lld,\"close_after_bytes\":%lld,"
		"\"huge_bytes\":%lld,\"trickle_ms\":%lld,\"goaway_debug\":\"",
		(long long)c->max_streams, (long long)c->first_streams, (long long)c->stream_window,
		(long long)c->window, (long long)c->max_frame, (long long)c->goaway_after,
		(long long)c->close_after, (long long)c->close_after_bytes, (long long)c->huge_bytes,
		(long long)c->trickle_ms);
	hm_buf_json(out, hm_str_c(c->goaway_debug));
	hm_buf_lit(out, "\"}}");
}

/* A standard normal value (Box and Muller; one of the pair is enough). */
static double normal(struct sink_worker *w)
{
	double u = 1.0 - sink_rand_unit(w), v = sink_rand_unit(w);

	return sqrt(-2.0 * log(u)) * cos(2.0 * 3.14159265358979323846 * v);
}

uint32_t knobs_latency_draw(const struct knobs_latency *l, struct sink_worker *w)
{
	double ms = 0, cap = l->cap_ms > 0 ? l->cap_ms : LATENCY_MAX;

	switch (l->kind) {
	case LATENCY_NONE: return 0;
	case LATENCY_FIXED: ms = l->a; break;
	case LATENCY_UNIFORM: ms = l->a + (l->b - l->a) * sink_rand_unit(w); break;
	case LATENCY_LOGNORMAL: ms = l->a * exp(l->b * normal(w)); break;
	case LATENCY_EXPONENTIAL: ms = -l->a * log(1.0 - sink_rand_unit(w)); break;
	}
	if (!(ms < cap))
		ms = cap;
	return ms <= 0 ? 0 : (uint32_t)(ms + 0.5);
}

bool knobs_rate_take(struct sink_knobs *k, unsigned profile, uint64_t now_ns)
{
	const struct knobs_profile *p = &k->p[profile];
	uint64_t step = (uint64_t)(1e9 / p->rate_per_s),
		 room = (uint64_t)(1e9 * p->rate_burst / p->rate_per_s);
	uint64_t tat = atomic_load(&k->rate_tat_ns[profile]), next;

	do {
		next = hm_max(tat, now_ns) + step;
		if (next - now_ns > room + 1)
			return false;
	} while (!atomic_compare_exchange_weak(&k->rate_tat_ns[profile], &tat, next));
	return true;
}
