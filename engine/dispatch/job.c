/*
 * job.c - jobs: birth, readiness, end
 *
 * A job object is kept with its msgpack zone when it ends, so that steady state
 * neither allocates nor frees for it.
 */
#include <stdlib.h>

#include "base/fault.h"
#include "base/log.h"
#include "dispatch/dispatch_int.h"

struct job *hm_job_new(struct hm_dispatch *d)
{
	struct hm_node *n = hm_list_pop(&d->free_jobs);
	struct job *j;
	msgpack_zone zone;

	if (n != NULL) {
		j = hm_container_of(n, struct job, node);
		zone = j->zone;
		memset(j, 0, sizeof(*j));
		j->zone = zone;
	} else {
		j = calloc(1, sizeof(*j));
		if (j == NULL)
			return NULL;
		if (!msgpack_zone_init(&j->zone, MSGPACK_ZONE_CHUNK_SIZE)) {
			free(j);
			return NULL;
		}
	}
	HM_MAGIC_SET(j, HM_JOB_MAGIC);
	j->d = d;
	j->rt = hm_runtime_ref_get(d->rt);
	hm_arena_init(&j->arena, &d->t->blocks, 0);
	hm_list_push(&d->jobs, &j->all);
	d->jobs_live++;
	return j;
}

void hm_job_free(struct job *j)
{
	struct hm_dispatch *d = j->d;

	HM_CHECK(j, HM_JOB_MAGIC);
	hm_assert(j->open == 0 && !hm_node_linked(&j->node));
	hm_pump_forget(j);
	hm_template_unref(j->own); /* before the arena it lives in */
	hm_template_set_unref(j->templates);
	free(j->done);
	if (j->prior != NULL) {
		free(j->prior);
		hm_arena_fini(&j->prior_arena);
	}
	hm_runtime_ref_put(j->rt);
	hm_arena_fini(&j->arena);
	msgpack_zone_clear(&j->zone);
	hm_list_remove(&d->jobs, &j->all);
	HM_MAGIC_CLEAR(j);
	d->jobs_live--;
	hm_list_push(&d->free_jobs, &j->node);
}

/* The accept record. HTTP ingest writes it too, when the queue has answered, and so does delay.c: whoever comes second
 * finds it there. */
bool hm_job_accept(struct job *j)
{
	struct hm_dispatch *d = j->d;
	bool marked = j->spec.acc.len >= HM_JOB_ACC_BOOT;
	bool own = marked && memcmp(j->spec.acc.p, d->deps.boot_id, HM_JOB_ACC_BOOT) == 0;
	struct hm_ledger_job lj = {
		.lane = j->lane,
		.accepted_ms = j->accepted_ms,
		.campaign = j->spec.campaign,
		.category = j->spec.category,
		.tenant = j->spec.tenant,
		.template_ref = j->spec.template_ref,
		.channel = j->spec.channel.len ? j->spec.channel : j->spec.route,
		.has_of = j->spec.of.len > 0,
		.of = hm_job_of_id(&j->spec),
		.if_absent = j->redelivered || j->spilled || marked || j->spec.at_ms > 0,
	};

	if (j->covered)
		return true;
	for (uint32_t first = 0, n; hm_aside_run(j, &first, &n); first += n) {
		/* with what has been cut off before its first recipient */
		uint32_t before = first == 0 && !j->spec.res.there ? j->spec.n0 : 0;

		lj.id = j->id;
		hm_ulid_add(&lj.id, j->spec.n0 + first - before);
		lj.n0 = hm_ulid_diff(&lj.id, &j->origin);
		lj.n = n + before;
		j->ticket = hm_ledger_put_job(d->writer, &lj);
		if (j->ticket == 0)
			return false;
	}
	if (!own && !j->redelivered && !j->spilled)
		hm_stats_add(d->t->stats, HM_CT_ACCEPTED, j->spec.n_rcpts);
	return true;
}

_Static_assert(HM_JOB_MAX_BUTTONS == HM_BUTTONS_MAX, "ingest and content agree");

/* The content, as it is now: what is published later is for later jobs. */
static int find_content(struct job *j, struct hm_err *e)
{
	const struct hm_template_opts o = {.settings = &j->rt->rt->cfg->settings};
	const struct hm_template_fact *facts;

	if (j->spec.template_ref.len > 0 || j->spec.render)
		j->templates = hm_template_set_ref(hm_book_look(&j->d->templates));
	if (j->spec.template_ref.len > 0) {
		j->source = hm_template_find(j->templates, j->spec.template_ref, e);
		if (j->source == NULL)
			return e->code;
		j->n_facts = (uint8_t)hm_template_facts(j->source, &facts);
		return 0;
	}
	if (hm_template_inline(j->spec.content, j->spec.render, &o, &j->arena, &j->own, e) != 0)
		return e->code;
	j->source = j->own;
	return 0;
}

/* What concerns the whole job is decided once; a job that cannot work fails every message with the reason. */
void hm_job_ready(struct job *j)
{
	struct hm_dispatch *d = j->d;
	struct hm_err e = {0};

	if (!hm_job_accept(j) || !hm_moves_take(j)) { /* nothing may end that was never accepted */
		hm_pull_again(d, j->partition, (enum hm_lane)j->lane);
		hm_job_free(j);
		return;
	}
	if (hm_route_resolve(j, &e) != 0)
		j->broken = e;
	if (j->broken.code == 0 && find_content(j, &e) != 0)
		j->broken = e;
	d->lanes[j->lane].buffered_msgs += j->spec.n_rcpts;
	d->lanes[j->lane].buffered_bytes += j->bytes;
	(void)hm_fault(HM_FAULT_job_ready);
	hm_pump_job(j);
}

/* Called when a message ended or the last recipient was skipped. */
void hm_job_maybe_done(struct job *j)
{
	struct hm_dispatch *d = j->d;

	if (j->open > 0 || j->cursor < j->spec.n_rcpts || j->owed > 0)
		return;
	hm_assert(!hm_node_linked(&j->node));
	if (j->handed_back)
		return; /* freed with the dispatcher */
	if (j->taken) {
		hm_job_free(j);
		return;
	}
	if (j->unrecorded) {
		HM_ERROR(DISPATCH,
			 "an entry is read again: the end of its messages could not be recorded (out of "
			 "memory)",
			 HM_SV("entry", hm_str_n(j->entry, j->entry_len)));
		hm_pull_again(d, j->partition, (enum hm_lane)j->lane);
		hm_job_free(j);
		return;
	}
	hm_ack_wait(d, j->ticket, j, HM_INFLIGHT_NONE);
}
