/*
 * profile_echo.c - everything no other profile wants: 200 and a small body
 *
 * The id is header x-hermod-id, else idempotency-key, else the string member
 * "id" of a JSON body. /status/NNN answers NNN.
 */
#include "scan.h"
#include "worker.h"

static bool match(struct hm_str method, struct hm_str path)
{
	return true;
}

static void ids(struct sink_req *r, struct sink_worker *w, struct sink_ids *list)
{
	struct hm_str id = req_header(r, "x-hermod-id"), body = req_body(r);

	r->target = req_path(r);
	if (!id.len)
		id = req_header(r, "idempotency-key");
	if (!id.len && body.len && body.p[0] == '{' && scan_valid(body))
		id = scan_text(scan_get(body, "id"), &w->scratch);
	if (id.len)
		sink_ids_add(list, id, false);
}

static void error(struct sink_req *r, int status)
{
	hm_buf_reset(&r->out);
	hm_buf_printf(&r->out, "status %d\n", status);
	reply_out(r, status, TYPE_TEXT);
}

static void handle(struct sink_req *r, struct sink_worker *w, const struct sink_special *sp,
		   struct sink_ids *list)
{
	struct hm_str path = req_path(r);
	uint64_t status;

	if (path.len == 11 && hm_str_starts(path, HM_STR("/status/")) &&
	    hm_str_u64(hm_str_n(path.p + 8, 3), &status) && status >= 200 && status < 600) {
		error(r, (int)status);
		r->reply.accepted = status < 300;
		return;
	}
	reply_static(r, 200, TYPE_TEXT, HM_STR("ok\n"));
	r->reply.accepted = true;
}

const struct sink_profile sink_echo = {
	.name = "echo",
	.what = "any other path: 200 \"ok\"; /status/NNN answers NNN; id = x-hermod-id, idempotency-key or "
		"JSON \"id\"",
	.target = "path",
	.match = match,
	.ids = ids,
	.handle = handle,
	.error = error,
};
