/*
 * routes.c - the sections `channels` and `routes`
 *
 *   channels:
 *     apns-main: {adapter: push/apns, cost: 0.001, ...}       the rest belongs to the adapter
 *   routes:
 *     order: [apns-main, sms-backup]             short form
 *     alert:                                     long form
 *       deadline: 10m
 *       steps:
 *         - channel: apns-main
 *           on: [invalid_recipient, provider_down]
 *           unless: delivered
 *           after: 10m
 *         - channel: sms-backup
 *           if: data.amount > 100
 *           within: 30s
 *     spread:
 *       choose: weighted
 *       steps: [{channel: sms-a, weight: 3}, {channel: sms-b, weight: 1}]
 *
 * What they mean when a message comes is told in dispatch/route.c and config/hermod.yaml.
 */
#include "config/config_int.h"

#include <stdlib.h>

#include "base/json.h"

#define COST_MAX   1e9
#define WEIGHT_MAX 1000000
#define WAIT_MAX   (31 * 86400000ull)

#define NAME_MAX_BYTES 64

/* Names go into keys, metrics and URLs. */
bool config_good_name(struct hm_str s)
{
	if (s.len == 0 || s.len > NAME_MAX_BYTES)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];
		bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

		if (!ok && (i == 0 || (c != '-' && c != '_' && c != '.')))
			return false;
	}
	return true;
}

static bool check_names(struct config_load *l, const struct hm_yaml *map, const char *what)
{
	bool ok = true;

	if (map->type == HM_YAML_NULL)
		return true;
	if (map->type != HM_YAML_MAP) {
		config_problem_at(l, map, "%ss: expected a map from name to %s, found %s", what, what,
				  hm_yaml_type_name(map));
		return false;
	}
	for (const struct hm_yaml *n = map->first; n; n = n->next)
		if (!config_good_name(n->key)) {
			struct hm_err e;

			hm_err_at(&e, HM_ECONFIG, n->file, n->key_line, n->key_col,
				  "\"%.*s\" is not a good name for a %s: letters, digits, - _ . and at most "
				  "%d bytes",
				  HM_STRF(n->key), what, NAME_MAX_BYTES);
			config_problem(l, &e);
			ok = false;
		}
	return ok;
}

static void load_cost(struct config_load *l, const struct hm_yaml *n, double *cost)
{
	const struct hm_yaml *v = hm_yaml_get(n, "cost");

	if (v == NULL)
		return;
	if (v->type == HM_YAML_SCALAR && hm_decimal_valid(v->text))
		*cost = strtod(v->text.p, NULL); /* ends where the number does: scalars are NUL-terminated */
	else
		*cost = -1;
	if (!(*cost >= 0 && *cost <= COST_MAX)) {
		config_problem_at(l, v, "channel %s: cost: expected a number from 0, such as 0.045",
				  n->key.p);
		*cost = 0;
	}
}

static bool load_channel(struct config_load *l, const struct hm_yaml *n, struct hm_channel_conf *c)
{
	const struct hm_yaml *adapter;
	struct hm_str medium, name;
	ptrdiff_t slash;

	if (n->type != HM_YAML_MAP) {
		config_problem_at(
			l, n, "channel %s: expected a map with at least \"adapter: medium/name\", found %s",
			n->key.p, hm_yaml_type_name(n));
		return false;
	}
	adapter = hm_yaml_get(n, "adapter");
	if (adapter == NULL) {
		config_problem_at(l, n, "channel %s: names no adapter; add \"adapter: push/apns\" or another",
				  n->key.p);
		return false;
	}
	slash = adapter->type == HM_YAML_SCALAR ? hm_str_chr(adapter->text, '/') : -1;
	medium = hm_str_n(adapter->text.p, slash < 0 ? 0 : (size_t)slash);
	name = slash < 0 ? HM_STR("")
			 : hm_str_n(adapter->text.p + slash + 1, adapter->text.len - (size_t)slash - 1);
	if (hm_medium_find(medium) < 0 || !config_good_name(name)) {
		config_problem_at(l, adapter,
				  "channel %s: adapter is written medium/name, with a medium of %s", n->key.p,
				  hm_media_list());
		return false;
	}
	*c = (struct hm_channel_conf){
		.name = n->key, .adapter = adapter->text, .node = n, .file = n->file, .line = n->key_line};
	load_cost(l, n, &c->cost);
	return true;
}

void config_load_channels(struct config_load *l, const struct hm_yaml *map)
{
	struct hm_channel_conf *v;
	size_t k = 0;

	if (!check_names(l, map, "channel") || map->len == 0)
		return;
	v = hm_arena_zalloc(&l->cfg->arena, map->len * sizeof(*v));
	if (v == NULL) {
		config_problem_at(l, map, "out of memory");
		return;
	}
	/* A broken channel keeps its place, so that routes naming it are not complained about too. */
	for (const struct hm_yaml *n = map->first; n; n = n->next, k++)
		if (!load_channel(l, n, &v[k]))
			v[k].name = n->key;
	l->cfg->channels = v;
	l->cfg->n_channels = k;
}

static void load_on(struct config_load *l, const struct hm_yaml *on, uint32_t *mask)
{
	static const char *const names[] = {
#define HM_OUTCOME(name, text, retryable, health, sentence) text,
#include "tbl/outcomes.h"
#undef HM_OUTCOME
		NULL,
	};

	if (on->type != HM_YAML_SEQ || on->len == 0) {
		config_problem_at(
			l, on,
			"on: expected a list of outcomes such as [invalid_recipient, provider_down], "
			"found %s",
			on->type == HM_YAML_SEQ ? "an empty one" : hm_yaml_type_name(on));
		return;
	}
	for (const struct hm_yaml *o = on->first; o; o = o->next) {
		int out = o->type == HM_YAML_SCALAR ? hm_outcome_find(o->text) : -1;
		const char *near = out < 0 ? hm_str_nearest(o->text, names) : NULL;

		if (out < 0)
			config_problem_at(l, o, "on: \"%.*s\" is not an outcome%s%s%s", HM_STRF(o->text),
					  near ? "; did you mean \"" : "", near ? near : "",
					  near ? "\"?" : "");
		else if (out == HM_OUT_OK)
			config_problem_at(l, o, "on: ok ends a route; there is nothing to try afterwards");
		else
			*mask |= 1u << out;
	}
}

static void check_channel(struct config_load *l, const struct hm_yaml *n, struct hm_str name)
{
	const char *names[256], *near;
	size_t k = 0;

	if (hm_config_channel(l->cfg, name))
		return;
	while (k < l->cfg->n_channels && k + 1 < hm_countof(names)) {
		names[k] = l->cfg->channels[k].name.p;
		k++;
	}
	names[k] = NULL;
	near = hm_str_nearest(name, names);
	config_problem_at(l, n, "there is no channel \"%.*s\"%s%s%s", HM_STRF(name),
			  near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static void duration(struct config_load *l, const struct hm_yaml *map, const char *key, uint64_t *ms)
{
	const struct hm_yaml *n = hm_yaml_get(map, key);
	struct hm_err e;

	if (n == NULL)
		return;
	if (hm_yaml_duration(n, ms, &e) < 0)
		config_problem(l, &e);
	else if (*ms < 1000 || *ms > WAIT_MAX)
		config_problem_at(l, n, "%s: expected something between 1s and 31d", key);
}

/* One of the words of a list; -1 when it is none, and that has been said. */
static int word(struct config_load *l, const struct hm_yaml *n, const char *what, const char *const *names)
{
	const char *near;

	for (int i = 0; n->type == HM_YAML_SCALAR && names[i]; i++)
		if (hm_str_is(n->text, names[i]))
			return i;
	near = n->type == HM_YAML_SCALAR ? hm_str_nearest(n->text, names) : NULL;
	if (near)
		config_problem_at(l, n, "%s: there is no \"%.*s\"; did you mean \"%s\"?", what,
				  HM_STRF(n->text), near);
	else
		config_problem_at(l, n, "%s: expected %s%s%s%s%s", what, names[0],
				  names[1] ? names[2] ? ", " : " or " : "", names[1] ? names[1] : "",
				  names[1] && names[2] ? " or " : "", names[1] && names[2] ? names[2] : "");
	return -1;
}

/* unless and after: what the message is waited for when the step's provider has accepted it. */
static void load_escalation(struct config_load *l, const struct hm_yaml *n, struct hm_route_step *s)
{
	static const char *const names[] = {"delivered", "read", NULL};
	const struct hm_yaml *unless = hm_yaml_get(n, "unless"), *after = hm_yaml_get(n, "after");
	int w;

	if ((unless == NULL) != (after == NULL)) {
		config_problem_at(l, n, "unless and after go together: \"unless: delivered, after: 10m\"");
		return;
	}
	if (unless == NULL)
		return;
	w = word(l, unless, "unless", names);
	duration(l, n, "after", &s->after_ms);
	s->unless = w == 1 ? HM_RC_READ : HM_RC_DELIVERED;
}

static void load_step(struct config_load *l, const struct hm_yaml *n, struct hm_route_step *s)
{
	static const char *const keys[] = {"channel", "on",	"if",	 "weight",
					   "within",  "unless", "after", NULL};
	const struct hm_yaml *channel = n, *on = NULL, *cond, *weight;
	struct hm_err e;
	int64_t v;

	s->line = n->line;
	s->weight = 1;
	if (n->type == HM_YAML_MAP) {
		if (hm_yaml_known(n, keys, &e) < 0) {
			config_problem(l, &e);
			return;
		}
		channel = hm_yaml_get(n, "channel");
		on = hm_yaml_get(n, "on");
	}
	if (channel == NULL || channel->type != HM_YAML_SCALAR) {
		config_problem_at(l, n, "a step is a channel's name, or {channel: name, on: [outcomes]}");
		return;
	}
	s->channel = channel->text;
	check_channel(l, channel, s->channel);
	if (on)
		load_on(l, on, &s->on_mask);
	if (n->type != HM_YAML_MAP)
		return;
	if ((cond = hm_yaml_get(n, "if")) != NULL) {
		s->condition = cond->text;
		s->cond = config_condition(l, cond, "if");
	}
	if ((weight = hm_yaml_get(n, "weight")) != NULL) {
		if (hm_yaml_i64(weight, 0, WEIGHT_MAX, &v, &e) < 0)
			config_problem(l, &e);
		else
			s->weight = (uint32_t)v;
	}
	duration(l, n, "within", &s->within_ms);
	load_escalation(l, n, s);
}

static double cost_of(const struct config_load *l, const struct hm_route_step *s)
{
	const struct hm_channel_conf *c = hm_config_channel(l->cfg, s->channel);

	return c ? c->cost : 0;
}

/* Equal costs stay in the order of the file. */
static void by_cost(const struct config_load *l, struct hm_route_step *v, size_t n)
{
	for (size_t i = 1; i < n; i++)
		for (size_t k = i; k > 0 && cost_of(l, &v[k]) < cost_of(l, &v[k - 1]); k--) {
			struct hm_route_step t = v[k];

			v[k] = v[k - 1];
			v[k - 1] = t;
		}
}

/* Members that only make sense together. */
static void check_route(struct config_load *l, const struct hm_yaml *steps, struct hm_route *r)
{
	const struct hm_yaml *n = steps->first;
	uint64_t shares = 0;

	for (size_t i = 0; i < r->n; i++, n = n->next)
		for (size_t k = 0; k < i; k++)
			if (hm_str_eq(r->steps[k].channel, r->steps[i].channel)) {
				config_problem_at(l, n, "channel %s is in the route already",
						  r->steps[i].channel.p);
				return;
			}
	n = steps->first;

	for (size_t i = 0; i < r->n; i++, n = n->next) {
		const struct hm_route_step *s = &r->steps[i];
		bool weighted = r->choose == HM_CHOOSE_WEIGHTED;

		shares += s->weight;
		if (!weighted && n->type == HM_YAML_MAP && hm_yaml_get(n, "weight"))
			config_problem_at(l, hm_yaml_get(n, "weight"), "weight: needs \"choose: weighted\"");
		if (s->after_ms == 0)
			continue;
		if (r->all)
			config_problem_at(l, n, "after: with \"mode: all\" every step is sent anyway");
		else if (r->choose != HM_CHOOSE_ORDERED)
			config_problem_at(
				l, n, "after: what comes next must be fixed; it needs \"choose: ordered\"");
		else if (i + 1 == r->n)
			config_problem_at(l, n, "after: this is the last step; there is no next one");
	}
	if (r->choose == HM_CHOOSE_WEIGHTED && shares == 0)
		config_problem_at(l, steps, "at least one step needs a weight above 0");
}

static void load_route(struct config_load *l, const struct hm_yaml *n, struct hm_route *r)
{
	static const char *const keys[] = {"choose", "deadline", "mode", "steps", NULL};
	static const char *const choices[] = {"ordered", "weighted", "cheapest", NULL};
	static const char *const modes[] = {"first", "all", NULL};
	const struct hm_yaml *steps = n, *v_n;
	size_t before = l->problems, k = 0;
	struct hm_route_step *v;
	struct hm_err e;

	r->name = n->key;
	r->line = n->key_line;
	r->node = n;
	if (n->type == HM_YAML_MAP) {
		if (hm_yaml_known(n, keys, &e) < 0)
			config_problem(l, &e);
		steps = hm_yaml_get(n, "steps");
		if ((v_n = hm_yaml_get(n, "deadline")) != NULL &&
		    hm_yaml_duration(v_n, &r->deadline_ms, &e) < 0)
			config_problem(l, &e);
		if ((v_n = hm_yaml_get(n, "choose")) != NULL)
			r->choose = (uint8_t)hm_max(word(l, v_n, "choose", choices), 0);
		if ((v_n = hm_yaml_get(n, "mode")) != NULL)
			r->all = word(l, v_n, "mode", modes) == 1;
	}
	if (steps == NULL || steps->type != HM_YAML_SEQ || steps->len == 0) {
		config_problem_at(l, n,
				  "route %s: expected a list of channels, as in [apns-main, sms-backup]",
				  n->key.p);
		return;
	}
	if (steps->len > HM_ROUTE_STEPS_MAX) {
		config_problem_at(l, steps, "route %s: more than %d steps", n->key.p, HM_ROUTE_STEPS_MAX);
		return;
	}
	v = hm_arena_zalloc(&l->cfg->arena, steps->len * sizeof(*v));
	if (v == NULL) {
		config_problem_at(l, n, "out of memory");
		return;
	}
	for (const struct hm_yaml *c = steps->first; c; c = c->next, k++)
		load_step(l, c, &v[k]);
	r->steps = v;
	r->n = k;
	if (l->problems == before)
		check_route(l, steps, r);
	if (r->choose == HM_CHOOSE_CHEAPEST)
		by_cost(l, v, k);
}

void config_load_routes(struct config_load *l, const struct hm_yaml *map)
{
	struct hm_route *v;
	size_t k = 0;

	if (!check_names(l, map, "route") || map->len == 0)
		return;
	v = hm_arena_zalloc(&l->cfg->arena, map->len * sizeof(*v));
	if (v == NULL) {
		config_problem_at(l, map, "out of memory");
		return;
	}
	for (const struct hm_yaml *n = map->first; n; n = n->next)
		load_route(l, n, &v[k++]);
	l->cfg->routes = v;
	l->cfg->n_routes = k;
}
