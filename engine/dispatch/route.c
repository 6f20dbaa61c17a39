/*
 * route.c - which channel a message takes, and which next
 *
 * A job names one channel, or a route: an ordered list of channels, each with the
 * outcomes after which it is left for the next one.
 */
#include "dispatch/dispatch_int.h"

static struct chan *find_chan(struct runtime_ref *rt, struct hm_str name)
{
	struct hm_channel *ch = hm_channel_find(rt->rt->channels, name);

	return ch ? &rt->chans[hm_channel_info(ch)->index] : NULL;
}

int hm_route_resolve(struct job *j, struct hm_err *e)
{
	if (j->spec.channel.len > 0) {
		j->fixed = find_chan(j->rt, j->spec.channel);
		if (j->fixed == NULL)
			return hm_err_set(e, HM_ENOENT, "no channel \"%.*s\"", HM_STRF(j->spec.channel));
		return 0;
	}
	j->route = hm_config_route(j->rt->rt->cfg, j->spec.route);
	if (j->route == NULL)
		return hm_err_set(e, HM_ENOENT, "no route \"%.*s\"", HM_STRF(j->spec.route));
	if (j->route->deadline_ms > 0)
		j->expires_ms = hm_min(j->expires_ms,
				       hm_max(j->entry_ms, j->spec.at_ms) + j->route->deadline_ms);
	return 0;
}

static bool take(struct msg *m, struct chan *c)
{
	struct hm_rcpt r;
	struct hm_str addr;

	hm_job_rcpt(&m->job->spec, m->index, &r);
	addr = hm_rcpt_address(&r, c->info->name, c->info->medium);
	if (addr.p == NULL)
		return false;
	if (m->chan != NULL)
		hm_msg_gates_leave(m, false); /* other rules may hold there */
	m->addr = addr;
	m->chan = c;
	m->chan_attempts = 0;
	m->auth_retried = false;
	m->part = hm_settle_parts_sent(m);
	m->parts = m->part > 0 ? (uint8_t)(m->part + 1) : 0;
	return true;
}

/* The first step from route_pos on that can be had. */
static bool take_first(struct msg *m)
{
	for (; m->route_pos < m->route->n; m->route_pos++) {
		struct chan *c = find_chan(m->job->rt, m->route->steps[m->route_pos].channel);

		if (c != NULL && take(m, c))
			return true;
	}
	return false;
}

bool hm_route_choose(struct msg *m)
{
	struct job *j = m->job;

	if (m->route == NULL) {
		if (take(m, j->fixed))
			return true;
		hm_settle_final(m, HM_ST_FAILED,
				hm_arena_printf(&j->d->t->scratch,
						"the recipient has no address for channel %.*s (%s)",
						HM_STRF(j->fixed->info->name),
						hm_medium_name(j->fixed->info->medium)));
		return false;
	}
	if (take_first(m))
		return true;
	hm_settle_final(m, HM_ST_FAILED, HM_STR("the recipient has no address for any channel of the route"));
	return false;
}

bool hm_route_skip(struct msg *m)
{
	if (m->route == NULL)
		return false;
	m->route_pos++;
	return take_first(m);
}

bool hm_route_next(struct msg *m, enum hm_outcome why)
{
	if (m->route == NULL)
		return false;
	/* An empty condition means: after any failure. */
	if (m->route->steps[m->route_pos].on_mask != 0 &&
	    !(m->route->steps[m->route_pos].on_mask & (1u << why)))
		return false;
	return hm_route_skip(m);
}

bool hm_route_switch(struct msg *m, struct hm_str route)
{
	const struct hm_route *to = hm_config_route(m->job->rt->rt->cfg, route);

	if (to == NULL || to == m->route || m->rerouted)
		return false;
	m->rerouted = true;
	m->route = to;
	m->route_pos = 0;
	return take_first(m);
}

void hm_route_away(struct chan *c)
{
	(void)c;
}

bool hm_route_sent(struct msg *m, const struct hm_ledger_attempt *a, size_t n)
{
	(void)m;
	(void)a;
	(void)n;
	return false;
}
