/*
 * routes.c - the sections `channels` and `routes`
 *
 *   channels:
 *     apns-main: {adapter: push/apns, ...}       the rest belongs to the adapter
 *   routes:
 *     order: [apns-main, sms-backup]             short form
 *     alert:                                     long form
 *       deadline: 10m
 *       steps:
 *         - channel: apns-main
 *           on: [invalid_recipient, provider_down]
 *         - sms-backup
 */
#include "config/config_int.h"

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
		config_problem_at(
			l, adapter,
			"channel %s: adapter is written medium/name, with a medium of push, sms, email, "
			"chat, voice, inbox, webhook",
			n->key.p);
		return false;
	}
	*c = (struct hm_channel_conf){
		.name = n->key, .adapter = adapter->text, .node = n, .file = n->file, .line = n->key_line};
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

static void load_step(struct config_load *l, const struct hm_yaml *n, struct hm_route_step *s)
{
	static const char *const keys[] = {"channel", "on", NULL};
	const struct hm_yaml *channel = n, *on = NULL;
	struct hm_err e;

	s->line = n->line;
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
}

static void load_route(struct config_load *l, const struct hm_yaml *n, struct hm_route *r)
{
	static const char *const keys[] = {"deadline", "steps", NULL};
	const struct hm_yaml *steps = n, *deadline;
	struct hm_route_step *v;
	struct hm_err e;
	size_t k = 0;

	r->name = n->key;
	r->line = n->key_line;
	if (n->type == HM_YAML_MAP) {
		if (hm_yaml_known(n, keys, &e) < 0)
			config_problem(l, &e);
		steps = hm_yaml_get(n, "steps");
		deadline = hm_yaml_get(n, "deadline");
		if (deadline && hm_yaml_duration(deadline, &r->deadline_ms, &e) < 0)
			config_problem(l, &e);
	}
	if (steps == NULL || steps->type != HM_YAML_SEQ || steps->len == 0) {
		config_problem_at(l, n,
				  "route %s: expected a list of channels, as in [apns-main, sms-backup]",
				  n->key.p);
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
