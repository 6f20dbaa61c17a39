/*
 * api_batch.c - POST /v1/messages/batch: many messages, few queue entries
 *
 *   JSON array | {"messages":[...]} | one message with recipients | msgpack of these
 *                \__ the whole body is decoded at its end
 *   JSON Lines   \__ each line as it arrives, in bounded memory
 *        |
 *        v
 *   each message -> checked -> packer (equal policies share an entry) -> XADD -> ledger
 *        |                        |
 *        +-- errors[]             +-- runs[]: which ids these messages got, in order
 *
 * Messages stand or fall one by one. The answer, when all XADDs are answered:
 *   202 when at least one message was accepted, with the rest in errors
 *   422 when all were refused for what they say, 503 when none was for want of Redis
 *
 * With an Idempotency-Key all entries and the answer go into one script (idempotency.h),
 * so a stream of lines is then collected first and bounded by http.max_body.
 *
 * Pressure: beyond PENDING_MAX unanswered XADDs a line stream is not read further.
 */
#include <openssl/evp.h>
#include <stdlib.h>

#include "base/json.h"
#include "ingest/api_int.h"

#define BATCH_MAGIC 0x62617463u
#define PENDING_MAX 64
#define ERRORS_MAX  1000 /* described; further ones are counted */
#define HELD_MAX    (4u << 20)

struct run {	      /* consecutive messages of the answer */
	uint64_t run; /* chunk they are in; 0 = refused, no id */
	struct hm_ulid id;
	uint32_t n;
};
struct refused {
	uint32_t index, line;
	uint8_t problem;	/* enum hm_problem */
	uint16_t field, detail; /* lengths; texts follow in batch->texts */
};

struct batch {
	uint32_t magic;
	struct hm_http_req *req;
	struct hm_http_server *srv;
	enum body_format format;
	struct hm_packer *packer;
	bool ended, failed, paused;
	/* the body */
	struct hm_buf body; /* whole, or the unfinished line */
	bool skip_line;	    /* its beginning was too long */
	uint32_t line;	    /* number of the line being read, 1-based */
	EVP_MD_CTX *digest; /* with an Idempotency-Key */
	struct idem idem;
	bool keyed;
	uint64_t keyed_bytes;
	/* what became of it */
	uint32_t items, messages, refused_items; /* items read, messages (recipients) in them */
	uint64_t redis_failed;			 /* messages */
	struct hm_err redis_err;
	uint32_t pending; /* XADDs */
	struct hm_buf runs, refused, texts, failed_runs;
	bool ids_omitted;
	uint32_t n_refused;
	/* keyed: entries until the end */
	struct hm_buf entries;
	struct keyed_entry {
		struct keyed_entry *next;
		size_t off, len;
		struct hm_pend *pend;
	} * keyed_first, **keyed_last;
	uint32_t n_keyed;
};

/* -- results --------------------------------------------------------------------- */

static void add_run(struct batch *b, uint64_t run, const struct hm_ulid *id, uint32_t n)
{
	struct run *last = b->runs.len ? (struct run *)(void *)(b->runs.p + b->runs.len - sizeof(*last))
				       : NULL;
	struct run next = {.run = run, .n = n};

	if (b->ids_omitted)
		return;
	if (id)
		next.id = *id;
	if (last && last->run == run) {
		if (run == 0) {
			last->n += n;
			return;
		}
		if (hm_ulid_diff(id, &last->id) == last->n) {
			last->n += n;
			return;
		}
	}
	/* A stream longer than a batch may be gets counts and errors only: bounded memory. */
	if (b->messages > b->srv->lim.max_batch) {
		b->ids_omitted = true;
		return;
	}
	hm_buf_put(&b->runs, &next, sizeof(next));
}

static void refuse(struct batch *b, enum hm_problem p, struct hm_str field, const char *detail)
{
	struct refused r = {.index = b->items, .line = b->line, .problem = (uint8_t)p};

	b->refused_items++;
	b->n_refused++;
	b->messages++;
	add_run(b, 0, NULL, 1);
	if (b->n_refused > ERRORS_MAX)
		return;
	r.field = (uint16_t)field.len;
	r.detail = (uint16_t)strlen(detail);
	hm_buf_put(&b->refused, &r, sizeof(r));
	hm_buf_puts(&b->texts, field);
	hm_buf_puts(&b->texts, hm_str_c(detail));
}

static void refuse_err(struct batch *b, const struct hm_err *e)
{
	enum hm_problem p = e->code == HM_EPARSE   ? HM_PROBLEM_BAD_SYNTAX
			    : e->code == HM_ELIMIT ? HM_PROBLEM_TOO_LARGE
			    : e->code == HM_ENOMEM ? HM_PROBLEM_BUSY
						   : HM_PROBLEM_INVALID;

	refuse(b, p, hm_str_c(e->field), e->text);
}

static bool run_failed(const struct batch *b, uint64_t run)
{
	const uint64_t *v = (const uint64_t *)(const void *)b->failed_runs.p;

	for (size_t i = 0; i < b->failed_runs.len / sizeof(*v); i++)
		if (v[i] == run)
			return true;
	return false;
}

static void write_ids(struct batch *b, struct hm_buf *out)
{
	bool first = true;

	hm_buf_lit(out, "\"ids\":[");
	for (size_t i = 0; i < b->runs.len / sizeof(struct run); i++) {
		struct run r;
		bool bad;

		memcpy(&r, b->runs.p + i * sizeof(r), sizeof(r));
		bad = r.run == 0 || run_failed(b, r.run);
		for (uint32_t k = 0; k < r.n; k++) {
			char text[HM_ULID_TEXT + 1];

			if (!first)
				hm_buf_putc(out, ',');
			first = false;
			if (bad) {
				hm_buf_lit(out, "null");
				continue;
			}
			hm_ulid_text(&r.id, text);
			hm_buf_putc(out, '"');
			hm_buf_put(out, text, HM_ULID_TEXT);
			hm_buf_putc(out, '"');
			hm_ulid_add(&r.id, 1);
		}
	}
	hm_buf_putc(out, ']');
}

/* Messages whose chunk Redis did not take: one error per row of messages. */
static void write_redis_errors(struct batch *b, struct hm_buf *out, bool *first, uint32_t *left)
{
	uint32_t at = 0;
	enum hm_problem p = hm_http_redis_problem(&b->redis_err);

	for (size_t i = 0; i < b->runs.len / sizeof(struct run); i++) {
		struct run r;

		memcpy(&r, b->runs.p + i * sizeof(r), sizeof(r));
		if (r.run && run_failed(b, r.run) && *left) {
			hm_buf_printf(out,
				      "%s{\"message\":%u,\"count\":%u,\"status\":%d,\"type\":\"urn:hermod:"
				      "problem:%s\",\"detail\":\"",
				      *first ? "" : ",", at, r.n, hm_problem_status(p), hm_problem_slug(p));
			hm_buf_json(out, hm_str_c(b->redis_err.text));
			hm_buf_lit(out, "\"}");
			*first = false;
			(*left)--;
		}
		at += r.n;
	}
}

static void write_errors(struct batch *b, struct hm_buf *out)
{
	size_t n = b->refused.len / sizeof(struct refused), off = 0;
	uint32_t left = ERRORS_MAX;
	bool first = true;

	hm_buf_lit(out, ",\"errors\":[");
	for (size_t i = 0; i < n; i++, left--) {
		struct refused r;

		memcpy(&r, b->refused.p + i * sizeof(r), sizeof(r));
		if ((size_t)r.field + r.detail > b->texts.len - off)
			break; /* there was no memory for its text */
		hm_buf_printf(out, "%s{\"index\":%u", first ? "" : ",", r.index);
		if (r.line)
			hm_buf_printf(out, ",\"line\":%u", r.line);
		hm_buf_printf(out, ",\"status\":%d,\"type\":\"urn:hermod:problem:%s\"",
			      hm_problem_status((enum hm_problem)r.problem),
			      hm_problem_slug((enum hm_problem)r.problem));
		if (r.field) {
			hm_buf_lit(out, ",\"field\":\"");
			hm_buf_json(out, hm_str_n(b->texts.p + off, r.field));
			hm_buf_putc(out, '"');
		}
		hm_buf_lit(out, ",\"detail\":\"");
		hm_buf_json(out, hm_str_n(b->texts.p + off + r.field, r.detail));
		hm_buf_lit(out, "\"}");
		off += (size_t)r.field + r.detail;
		first = false;
	}
	write_redis_errors(b, out, &first, &left);
	hm_buf_putc(out, ']');
	if (b->n_refused > ERRORS_MAX)
		hm_buf_printf(out, ",\"errors_omitted\":%u", b->n_refused - ERRORS_MAX);
}

static uint64_t accepted_count(const struct batch *b)
{
	return (uint64_t)b->messages - b->refused_items - b->redis_failed;
}

static void write_result(struct batch *b, struct hm_buf *out)
{
	hm_buf_reset(out);
	hm_buf_printf(out, "{\"accepted\":%llu,\"rejected\":%llu,", (unsigned long long)accepted_count(b),
		      (unsigned long long)(b->refused_items + b->redis_failed));
	if (b->ids_omitted)
		hm_buf_lit(out, "\"ids_omitted\":true");
	else
		write_ids(b, out);
	write_errors(b, out);
	hm_buf_putc(out, '}');
}

/* -- the end -------------------------------------------------------------------------- */

static void answer(struct batch *b)
{
	struct hm_http_req *r = b->req;
	struct hm_http_server *s = b->srv;

	if (r->answered || b->failed)
		return;
	if (b->messages == 0) {
		hm_http_problem(r, HM_PROBLEM_INVALID, NULL, "the batch has no messages");
		return;
	}
	if (accepted_count(b) == 0 && b->redis_failed) {
		hm_http_problem_redis(r, &b->redis_err);
		return;
	}
	if (accepted_count(b) == 0) {
		struct hm_buf also;

		hm_buf_init(&also, 1u << 20);
		hm_buf_printf(&also, "\"accepted\":0,\"rejected\":%u", b->refused_items);
		write_errors(b, &also);
		hm_http_problem(r, HM_PROBLEM_INVALID, &(struct hm_problem_info){.also = hm_buf_cstr(&also)},
				"none of the %u messages is valid", b->refused_items);
		hm_buf_fini(&also);
		return;
	}
	write_result(b, &s->body);
	if (s->body.err || b->runs.err || b->refused.err || b->texts.err) {
		/* They are in the queue: a 5xx would make the client send them again. */
		hm_buf_reset(&s->body);
		hm_buf_printf(&s->body,
			      "{\"accepted\":%llu,\"rejected\":%llu,\"ids_omitted\":true,\"errors\":[]}",
			      (unsigned long long)accepted_count(b),
			      (unsigned long long)(b->refused_items + b->redis_failed));
	}
	hm_http_json(r, 202, hm_buf_str(&s->body));
}

static void maybe_done(struct batch *b)
{
	if (b->ended && b->pending == 0)
		answer(b);
}

static void batch_fini(struct hm_http_req *r)
{
	struct batch *b = r->state;

	HM_CHECK(b, BATCH_MAGIC);
	for (struct keyed_entry *k = b->keyed_first, *next; k; k = next) {
		next = k->next;
		hm_pend_free(k->pend);
		free(k);
	}
	hm_packer_free(b->packer);
	EVP_MD_CTX_free(b->digest);
	hm_buf_fini(&b->body);
	hm_buf_fini(&b->runs);
	hm_buf_fini(&b->refused);
	hm_buf_fini(&b->texts);
	hm_buf_fini(&b->failed_runs);
	hm_buf_fini(&b->entries);
	HM_MAGIC_CLEAR(b);
	free(b);
}

/* -- entries ---------------------------------------------------------------------------- */

static void chunk_failed(struct batch *b, uint64_t run, uint32_t n, const struct hm_err *err)
{
	hm_buf_put(&b->failed_runs, &run, sizeof(run));
	b->redis_failed += n;
	b->redis_err = *err;
}

static void on_added(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_pend *p = arg;
	struct batch *b = p->batch;
	struct hm_http_req *r = p->req;

	HM_CHECK(b, BATCH_MAGIC);
	if (err)
		chunk_failed(b, p->run, p->job.n, err);
	else
		hm_pend_accepted(p);
	hm_pend_free(p);
	b->pending--;
	if (b->paused && b->pending < PENDING_MAX / 2) {
		b->paused = false;
		hm_http_read_pause(r, false); /* may call data and end */
	}
	maybe_done(b);
	hm_http_release(r);
}

static void on_packed(void *arg, const struct hm_packed *p)
{
	struct batch *b = arg;
	struct hm_pend *pend = p->entry.p ? hm_pend_new(b->srv, p) : NULL;
	struct keyed_entry *k;
	struct hm_err e;

	if (!pend) {
		hm_err_clear(&e);
		hm_err_set(&e, HM_ENOMEM, "out of memory");
		chunk_failed(b, p->run, p->n, &e);
		return;
	}
	pend->req = b->req;
	pend->batch = b;
	if (!b->keyed) {
		hm_http_hold(b->req);
		b->pending++;
		hm_pend_xadd(pend, hm_job_partition(&p->id, b->srv->partitions), p->entry, on_added);
		return;
	}
	k = calloc(1, sizeof(*k));
	if (k) {
		k->off = b->entries.len;
		k->len = p->entry.len;
		k->pend = pend;
		hm_buf_puts(&b->entries, p->entry);
	}
	if (!k || b->entries.err) {
		free(k);
		hm_pend_free(pend);
		hm_err_clear(&e);
		hm_err_set(&e, HM_ENOMEM, "too much for one request with an Idempotency-Key");
		chunk_failed(b, p->run, p->n, &e);
		return;
	}
	*b->keyed_last = k;
	b->keyed_last = &k->next;
	b->n_keyed++;
}

static void on_placed(void *arg, const struct hm_packed_at *at)
{
	struct batch *b = arg;

	b->messages += at->n;
	add_run(b, at->run, &at->id, at->n);
}

/* -- messages -------------------------------------------------------------------------- */

static void item(struct batch *b, const msgpack_object *o)
{
	struct hm_job_spec spec;
	struct hm_err e;
	int rc;

	hm_err_clear(&e);
	rc = hm_job_read_message(o, &spec, &e);
	if (rc == 0)
		rc = hm_http_check_names(b->srv, &spec, &e);
	if (rc == 0)
		rc = hm_packer_put(b->packer, &spec, b->srv->tick->wall_ms, on_placed, b, &e);
	if (rc)
		refuse_err(b, &e);
	b->items++;
}

/* False: answered, the batch is over. */
static bool too_many(struct batch *b, uint64_t n)
{
	if (n <= b->srv->lim.max_batch)
		return false;
	b->failed = true;
	hm_http_problem(b->req, HM_PROBLEM_TOO_LARGE, NULL,
			"the batch has %llu messages; at most %u are allowed (http.max_batch)",
			(unsigned long long)n, b->srv->lim.max_batch);
	return true;
}

static void whole_body(struct batch *b)
{
	struct hm_http_req *r = b->req;
	const msgpack_object *list = NULL;
	msgpack_object root;
	uint64_t n = 0;
	struct hm_err e;

	hm_err_clear(&e);
	if (hm_api_decode(b->srv, b->format, hm_buf_str(&b->body), &root, &e)) {
		b->failed = true;
		hm_http_problem_err(r, &e);
		return;
	}
	if (root.type == MSGPACK_OBJECT_ARRAY) {
		list = &root;
	} else if (root.type == MSGPACK_OBJECT_MAP && root.via.map.size == 1) {
		list = hm_mp_get(&root, HM_STR("messages"));
		if (list && list->type != MSGPACK_OBJECT_ARRAY) {
			b->failed = true;
			hm_http_problem(r, HM_PROBLEM_INVALID,
					&(struct hm_problem_info){.field = HM_STR("messages")},
					"messages: must be an array, not %s", hm_mp_type_name(list));
			return;
		}
	}
	if (!list && root.type != MSGPACK_OBJECT_MAP) {
		b->failed = true;
		hm_http_problem(r, HM_PROBLEM_INVALID, NULL,
				"the body must be an array of messages, {\"messages\": [...]} or one message "
				"with recipients, not %s",
				hm_mp_type_name(&root));
		return;
	}
	/* Count before anything is put into the queue: a batch that is too large is refused whole. */
	for (uint32_t i = 0; i < (list ? list->via.array.size : 1); i++) {
		const msgpack_object *one = list ? &list->via.array.ptr[i] : &root;
		const msgpack_object *many = hm_mp_get(one, HM_STR("recipients"));

		n += many && many->type == MSGPACK_OBJECT_ARRAY ? hm_max(many->via.array.size, 1u) : 1;
	}
	if (too_many(b, n))
		return;
	for (uint32_t i = 0; i < (list ? list->via.array.size : 1); i++)
		item(b, list ? &list->via.array.ptr[i] : &root);
}

static void one_line(struct batch *b, struct hm_str line)
{
	msgpack_object root;
	struct hm_err e;

	b->line++;
	line = hm_str_trim(line);
	if (line.len == 0)
		return;
	hm_err_clear(&e);
	if (hm_api_decode(b->srv, BODY_JSON, line, &root, &e)) {
		if (strncmp(e.text, "line 1 ", 7) == 0) /* of this line; the answer says which one it is */
			memmove(e.text, e.text + 7, strlen(e.text + 7) + 1);
		refuse_err(b, &e);
		b->items++;
		return;
	}
	item(b, &root);
}

static void line_too_long(struct batch *b)
{
	char text[100];

	b->line++;
	(void)snprintf(text, sizeof(text), "the line is longer than %zu bytes (http.max_body)",
		       b->srv->lim.max_body);
	refuse(b, HM_PROBLEM_TOO_LARGE, HM_STR(""), text);
	b->items++;
}

static void lines(struct batch *b, const char *p, size_t n)
{
	const char *end = p + n;

	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t len = (size_t)((nl ? nl : end) - p);

		if (b->skip_line) {
			if (nl)
				b->skip_line = false;
		} else if (b->body.len + len > b->srv->lim.max_body) {
			line_too_long(b);
			hm_buf_reset(&b->body);
			b->skip_line = nl == NULL;
		} else if (!nl) {
			hm_buf_put(&b->body, p, len);
		} else if (b->body.len) {
			hm_buf_put(&b->body, p, len);
			one_line(b, hm_buf_str(&b->body));
			hm_buf_reset(&b->body);
		} else {
			one_line(b, hm_str_n(p, len));
		}
		p += len + (nl != NULL);
	}
}

/* -- handlers ----------------------------------------------------------------------------- */

void hm_api_batch_begin(struct hm_http_req *r)
{
	struct hm_http_server *s = r->srv;
	enum body_format f = hm_api_body_format(r->content_type);
	uint64_t length = (r->conn->parser.flags & F_CONTENT_LENGTH) ? r->conn->parser.content_length : 0;
	struct hm_packer_opts o = {.max_rcpts = s->lim.max_chunk,
				   .max_entry_bytes = hm_min(s->lim.max_entry, (size_t)(1u << 20)),
				   .max_held_bytes = HELD_MAX,
				   .acc = hm_str_n(s->acc, s->acc_len),
				   .emit = on_packed};
	struct batch *b;

	if (f == BODY_UNKNOWN) {
		hm_api_wrong_type(r, "application/json, application/x-ndjson or application/msgpack");
		return;
	}
	if (!hm_api_may_submit(r))
		return;
	if (length > s->lim.max_body && (f != BODY_NDJSON || r->idempotency_key.p)) {
		hm_http_problem(r, HM_PROBLEM_TOO_LARGE, &(struct hm_problem_info){.close = true},
				"the body has %llu bytes; at most %zu are allowed (http.max_body)%s",
				(unsigned long long)length, s->lim.max_body,
				f == BODY_NDJSON ? " with an Idempotency-Key"
						 : "; longer lists go as application/x-ndjson");
		return;
	}
	b = calloc(1, sizeof(*b));
	if (!b)
		goto nomem;
	HM_MAGIC_SET(b, BATCH_MAGIC);
	b->req = r;
	b->srv = s;
	b->format = f;
	b->keyed_last = &b->keyed_first;
	hm_buf_init(&b->body, s->lim.max_body);
	hm_buf_init(&b->runs, (size_t)(s->lim.max_batch + 1) * sizeof(struct run) * 2);
	hm_buf_init(&b->refused, ERRORS_MAX * sizeof(struct refused));
	hm_buf_init(&b->texts, ERRORS_MAX * 512);
	hm_buf_init(&b->failed_runs, 64u << 20);
	hm_buf_init(&b->entries, 2 * s->lim.max_body + (1u << 20));
	r->state = b;
	r->fini = batch_fini;
	o.arg = b;
	b->packer = hm_packer_new(&o);
	if (!b->packer)
		goto nomem;
	if (r->idempotency_key.p) {
		if (!hm_idem_begin(r, &b->idem))
			return;
		b->keyed = true;
		b->digest = EVP_MD_CTX_new();
		if (!b->digest || EVP_DigestInit_ex(b->digest, EVP_sha256(), NULL) != 1)
			goto nomem;
	}
	return;
nomem:
	hm_http_problem(r, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1}, "out of memory");
}

void hm_api_batch_data(struct hm_http_req *r, const char *p, size_t n)
{
	struct batch *b = r->state;
	struct hm_http_server *s = b->srv;

	HM_CHECK(b, BATCH_MAGIC);
	if (b->keyed) {
		EVP_DigestUpdate(b->digest, p, n);
		b->keyed_bytes += n;
	}
	if (b->format != BODY_NDJSON) {
		hm_buf_put(&b->body, p, n);
		if (b->body.err) {
			b->failed = true;
			hm_http_problem(r, HM_PROBLEM_TOO_LARGE, &(struct hm_problem_info){.close = true},
					"the body has more than %zu bytes (http.max_body); longer lists go "
					"as application/x-ndjson",
					s->lim.max_body);
		}
		return;
	}
	if (b->keyed && b->keyed_bytes > s->lim.max_body) {
		b->failed = true;
		hm_http_problem(r, HM_PROBLEM_TOO_LARGE, &(struct hm_problem_info){.close = true},
				"with an Idempotency-Key the body may have at most %zu bytes (http.max_body)",
				s->lim.max_body);
		return;
	}
	lines(b, p, n);
	if (b->pending > PENDING_MAX && !b->paused) {
		b->paused = true;
		hm_http_read_pause(r, true);
	}
}

static void on_submitted(void *arg, enum idem_result res, int status, struct hm_str stored,
			 const struct hm_err *err)
{
	struct batch *b = arg;
	struct hm_http_req *r = b->req;

	HM_CHECK(b, BATCH_MAGIC);
	if (res == IDEM_NEW)
		for (struct keyed_entry *k = b->keyed_first; k; k = k->next)
			hm_pend_accepted(k->pend);
	if (!r->answered) {
		if (res == IDEM_NEW)
			answer(b);
		else if (res == IDEM_FAILED)
			hm_http_problem_redis(r, err);
		else
			hm_idem_answer(r, res, status, stored);
	}
	hm_http_release(r);
}

static void submit_keyed(struct batch *b)
{
	struct hm_http_server *s = b->srv;
	struct idem_entry *v;
	unsigned len = 0;
	uint32_t n = 0;

	EVP_DigestFinal_ex(b->digest, b->idem.body, &len);
	if (accepted_count(b) == 0) { /* nothing to make idempotent */
		answer(b);
		return;
	}
	if (b->n_keyed > HM_IDEM_ENTRIES_MAX || b->redis_failed) {
		hm_http_problem(b->req, HM_PROBLEM_TOO_LARGE, NULL,
				"the batch makes %u queue entries; with an Idempotency-Key at most %u are "
				"possible (messages that share "
				"everything but recipient and data share entries)",
				b->n_keyed, HM_IDEM_ENTRIES_MAX);
		return;
	}
	v = hm_arena_alloc(&b->req->arena, b->n_keyed * sizeof(*v));
	write_result(b, &s->body);
	if (!v || s->body.err || b->runs.err) {
		hm_http_problem(b->req, HM_PROBLEM_BUSY, &(struct hm_problem_info){.retry_after_s = 1},
				"out of memory");
		return;
	}
	for (struct keyed_entry *k = b->keyed_first; k; k = k->next)
		v[n++] = (struct idem_entry){.lane = (enum hm_lane)k->pend->job.lane,
					     .entry = hm_str_n(b->entries.p + k->off, k->len)};
	hm_http_hold(b->req);
	hm_idem_submit(s, &b->idem, v, n, 202, hm_buf_str(&s->body), on_submitted, b);
}

void hm_api_batch_end(struct hm_http_req *r)
{
	struct batch *b = r->state;

	HM_CHECK(b, BATCH_MAGIC);
	hm_http_hold(r); /* an answer may end the request while we still look at b */
	if (b->format != BODY_NDJSON)
		whole_body(b);
	else if (b->body.len)
		one_line(b, hm_buf_str(&b->body));
	if (!b->failed && !(b->keyed && too_many(b, b->messages))) {
		hm_packer_flush(b->packer);
		b->ended = true;
		if (b->keyed)
			submit_keyed(b);
		else
			maybe_done(b);
	}
	hm_http_release(r);
}
