/*
 * profile_smpp.c - an SMSC (smpp.c speaks the protocol)
 *
 * The target, and the id, is the destination: SMPP carries no id of the sender's. Of a long message the first part counts. The body of
 * a good answer is the message id; a row's detail is its command_status.
 */
#include "worker.h"

static const struct sink_special special[] = {
	{"99900008", "ESME_RSYSERR", 500, "8"},
	{"99900010", "ESME_RINVSRCADR", 400, "10"},
	{"99900011", "ESME_RINVDSTADR", 404, "11"},
	{"99900020", "ESME_RMSGQFUL", 429, "20"},
	{"99900069", "ESME_RSUBMITFAIL", 400, "69"},
	{"99900088", "ESME_RTHROTTLED", 429, "88"},
	{"99900100", "ESME_RX_T_APPN", 503, "100"},
	{"99900101", "ESME_RX_P_APPN", 400, "101"},
	{"99900254", "ESME_RDELIVERYFAILURE", 400, "254"},
	{"99900255", "ESME_RUNKNOWNERR", 500, "255"},
};

/* Requests come from connections of --smpp alone, never by their path. */
static bool match(struct hm_str method, struct hm_str path)
{
	return false;
}

/* Whether this is the only part, or the first. */
static bool first_part(const struct sink_req *r)
{
	struct hm_str sar = req_header(r, "sar"), body = req_body(r);
	const uint8_t *p = (const uint8_t *)body.p;
	uint64_t esm;

	if (sar.len)
		return sar.len > 2 && sar.p[sar.len - 1] == '1' && sar.p[sar.len - 2] == '/';
	if (!hm_str_u64(req_header(r, "esm-class"), &esm) || !(esm & 0x40) || body.len < 6)
		return true;
	if (p[1] == 0 && p[2] == 3) /* concatenation, reference of 8 bits (3GPP TS 23.040, 9.2.3.24.1) */
		return p[5] == 1;
	return p[1] != 8 || p[2] != 4 || body.len < 7 || p[6] == 1;
}

static void ids(struct sink_req *r, struct sink_worker *w, struct sink_ids *list)
{
	r->target = req_header(r, "destination");
	if (r->target.len && first_part(r))
		sink_ids_add(list, r->target, false);
}

static void error(struct sink_req *r, int status)
{
	reply_static(r, status, HM_STR_NULL, HM_STR_NULL);
}

static void handle(struct sink_req *r, struct sink_worker *w, const struct sink_special *sp,
		   struct sink_ids *list)
{
	if (sp) {
		error(r, sp->status);
		reply_header(r, HM_STR("command-status"), hm_str_c(sp->detail));
		return;
	}
	hm_buf_printf(&r->out, "%08x", (unsigned)sink_rand(w));
	reply_out(r, 200, HM_STR_NULL);
	r->reply.accepted = true;
}

const struct sink_profile sink_smpp = {
	.name = "smpp",
	.what = "short messages of sessions on --smpp: binds, submit_sm, data_sm, receipts; id = destination",
	.target = "destination",
	.match = match,
	.ids = ids,
	.handle = handle,
	.error = error,
	.special_lead = "99900",
	.special = special,
	.n_special = hm_countof(special),
};
