/*
 * profiles.c - the table of profiles and the helpers they share
 */
#include "profile.h"

#include <stdlib.h>

#include "knobs.h"
#include "worker.h"

#define SINK_PROFILE(name) extern const struct sink_profile sink_##name;
#include "tbl_profiles.h"
#undef SINK_PROFILE

static const struct sink_profile *const profiles[] = {
	NULL, /* "*" */
#define SINK_PROFILE(name) &sink_##name,
#include "tbl_profiles.h"
#undef SINK_PROFILE
};
_Static_assert(hm_countof(profiles) <= SINK_MAX_PROFILES, "raise SINK_MAX_PROFILES");

unsigned sink_profile_count(void)
{
	return hm_countof(profiles);
}

const struct sink_profile *sink_profile_get(unsigned index)
{
	hm_assert(index >= 1 && index < hm_countof(profiles));
	return profiles[index];
}

const char *sink_profile_name(unsigned index)
{
	return index == 0 ? "*" : sink_profile_get(index)->name;
}

int sink_profile_find(struct hm_str name)
{
	for (unsigned i = 0; i < hm_countof(profiles); i++)
		if (hm_str_is(name, sink_profile_name(i)))
			return (int)i;
	return -1;
}

unsigned sink_profile_match(struct hm_str method, struct hm_str path)
{
	unsigned last = hm_countof(profiles) - 1;

	for (unsigned i = 1; i < last; i++)
		if (profiles[i]->match(method, path))
			return i;
	return last;
}

int sink_profiles_init(const struct sink_options *o, struct hm_err *e)
{
	for (unsigned i = 1; i < hm_countof(profiles); i++) {
		int rc = profiles[i]->init ? profiles[i]->init(o, e) : 0;

		if (rc)
			return rc;
	}
	return 0;
}

void sink_profiles_fini(void)
{
	for (unsigned i = 1; i < hm_countof(profiles); i++)
		if (profiles[i]->fini)
			profiles[i]->fini();
}

const struct sink_special *sink_special_named(unsigned profile, struct hm_str name)
{
	const struct sink_profile *p = profile ? profiles[profile] : NULL;

	for (size_t i = 0; p && i < p->n_special; i++)
		if (hm_str_is(name, p->special[i].name))
			return &p->special[i];
	return NULL;
}

const struct sink_special *sink_special_for(unsigned profile, struct hm_str target, struct sink_worker *w)
{
	const struct sink_profile *p = profiles[profile];
	const struct knobs_profile *k = &w->knobs->p[profile];

	for (size_t i = 0; i < k->n_special; i++)
		if (hm_str_starts(target, hm_str_c(k->special[i].prefix)))
			return sink_special_named(profile, hm_str_c(k->special[i].row));
	if (w->sink->options->no_special || !p->special_lead || target.len == 0 ||
	    target.p[0] != p->special_lead[0] || !hm_str_starts(target, hm_str_c(p->special_lead)))
		return NULL;
	for (size_t i = 0; i < p->n_special; i++)
		if (hm_str_starts(target, hm_str_c(p->special[i].trigger)))
			return &p->special[i];
	return NULL;
}

bool sink_ids_add(struct sink_ids *ids, struct hm_str id, bool refused)
{
	if (ids->n == ids->cap)
		return false;
	ids->v[ids->n++] = (struct sink_id){id, refused};
	return true;
}

void reply_static(struct sink_req *r, int status, struct hm_str type, struct hm_str body)
{
	r->reply.status = status;
	r->reply.type = type;
	r->reply.body = body;
}

void reply_out(struct sink_req *r, int status, struct hm_str type)
{
	reply_static(r, r->out.err ? 500 : status, type, hm_buf_str(&r->out));
}

void reply_header(struct sink_req *r, struct hm_str name, struct hm_str value)
{
	if (r->reply.n_h < SINK_REPLY_HEADERS) {
		r->reply.h[r->reply.n_h].name = name;
		r->reply.h[r->reply.n_h++].value = value;
	}
}

static struct hm_str keep(struct sink_req *r, struct hm_str s)
{
	size_t at = r->hdr.len;

	hm_buf_puts(&r->hdr, s);
	return hm_str_n(r->hdr.p + at, s.len);
}

void reply_header_copy(struct sink_req *r, struct hm_str name, struct hm_str value)
{
	/* Growing would move what earlier headers point at: 4 KiB once, then no more. */
	if (!hm_buf_reserve(&r->hdr, r->hdr.cap ? 0 : 4096) || r->hdr.cap - r->hdr.len < name.len + value.len)
		return;
	name = keep(r, name);
	reply_header(r, name, keep(r, value));
}
