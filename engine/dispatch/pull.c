/*
 * pull.c - from the streams into jobs
 *
 * One reader per lane, each on a connection of its own, so that a blocked read of one
 * lane never delays another and critical has a read of its own. On a single server a
 * reader asks for all its partitions in one command; in a cluster one command must
 * stay on one slot, so there is one reader per lane and partition. Partition p
 * belongs to shard p mod shards; several processes read the same streams under
 * different consumer names and Redis hands every entry to one of them.
 *
 *   (re)connect ──▶ GROUP: XGROUP CREATE ──▶ OWN: what was delivered to this consumer
 *   before and not acknowledged ──▶ TAKEN: what was taken over from others ──▶ NEW: XREADGROUP >
 *   (blocking), as long as the lane's buffer wants more
 *
 * OWN after every reconnect: entries whose delivery was lost with the connection are in
 * this consumer's pending list; those this shard already works on are skipped. Entries taken over
 * are pending under a name of their own, so that they are known as such after a crash as well.
 * hm_pull_again: the same round without a reconnect, for entries that were left pending.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/log.h"
#include "dispatch/dispatch_int.h"

#define OWN_PAGE 256
/* Messages one read should bring: they are decoded in one go, and critical waits for that. */
#define READ_MSGS	 2000u
#define RETRY_MS	 200
#define AGAIN_MS	 300
#define BUFFER_MAX_BYTES (32u << 20) /* per lane: entries read ahead */

enum reader_mode { READER_GROUP, READER_OWN, READER_TAKEN, READER_NEW };

struct reader {
	uint32_t magic;
	struct hm_dispatch *d;
	enum hm_lane lane;
	struct hm_redis_line *line;
	enum reader_mode mode;
	uint32_t *parts;
	uint32_t n_parts, at; /* at: partition in hand during GROUP and OWN */
	uint32_t first;	      /* of the next window, during NEW */
	uint32_t window; /* partitions of the read under way: fewer than all only while a backlog is read */
	uint32_t empty;	 /* partitions in a row that had nothing; as many as there are: no backlog */
	char (*keys)[96];
	struct hm_str *key; /* views of keys */
	char cursor[ENTRY_ID_MAX];
	bool busy, closed, group_failed;
	uint32_t groups_open; /* XGROUP commands not answered */
	int64_t client_id;    /* of its connection; 0: not known */
	bool look_again;      /* pending entries were left for later */
	struct hm_timer retry, again;
	struct hm_str *argv;
};

static void reader_go(struct reader *r);

bool hm_pull_owns(const struct hm_dispatch *d, uint32_t partition)
{
	return partition % d->deps.shards == d->deps.shard;
}

/* -- entries -> jobs ---------------------------------------------------------------------------- */

static bool parse_entry_id(struct hm_str id, uint64_t *ms, uint64_t *seq)
{
	struct hm_str rest = id, part;

	return id.len < ENTRY_ID_MAX && hm_str_split(&rest, '-', &part) && hm_str_u64(part, ms) &&
	       hm_str_u64(rest, seq);
}

static struct job *find_live(const struct hm_dispatch *d, uint32_t partition, enum hm_lane lane,
			     struct hm_str entry)
{
	hm_list_foreach (&d->jobs, n) {
		struct job *j = hm_container_of(n, struct job, all);

		if (j->partition == partition && j->lane == lane && j->entry_len == entry.len &&
		    memcmp(j->entry, entry.p, entry.len) == 0)
			return j;
	}
	return NULL;
}

/* A new entry is newer than all before it. One that is not was read already: Redis lost its last writes (power, a replica
 * that took over) and forgot that. */
static bool seen_before(struct ack_key *k, uint64_t ms, uint64_t seq)
{
	if (ms < k->seen_ms || (ms == k->seen_ms && seq <= k->seen_seq))
		return true;
	k->seen_ms = ms;
	k->seen_seq = seq;
	return false;
}

static void one_entry(struct hm_dispatch *d, uint32_t partition, enum hm_lane lane,
		      const struct hm_reply *entry, bool redelivered, bool foreign)
{
	const struct hm_reply *id = hm_reply_at(entry, 0), *fields = hm_reply_at(entry, 1);
	struct hm_str payload = HM_STR_NULL, first_id = HM_STR_NULL, bytes;
	struct hm_err e = {0};
	uint64_t ms, seq, first_ms, first_seq;
	struct job *j;

	if (id == NULL || id->type != HM_REPLY_STR || !parse_entry_id(id->s, &ms, &seq))
		return;
	if (fields == NULL || fields->type != HM_REPLY_ARRAY) { /* deleted from the stream, still pending */
		hm_ack_entry(d, partition, lane, id->s.p, id->s.len);
		return;
	}
	redelivered |= seen_before(&d->acks[partition * HM_LANE_COUNT + (uint32_t)lane], ms, seq);
	if (redelivered && find_live(d, partition, lane, id->s) != NULL)
		return;
	hm_stats_inc(d->t->stats, HM_CT_PULLED_ENTRIES);
	for (size_t i = 0; i + 1 < fields->n; i += 2)
		if (hm_str_is(fields->v[i].s, "j"))
			payload = fields->v[i + 1].s;
		else if (hm_str_is(fields->v[i].s, "s"))
			first_id = fields->v[i + 1].s;
	if (payload.p == NULL) {
		hm_err_set(&e, HM_EINVAL, "the entry has no field \"j\"");
		hm_dead_entry(d, partition, lane, id->s, HM_STR(""), &e);
		return;
	}
	if (payload.len > d->o.max_entry_bytes) {
		hm_err_set(&e, HM_ELIMIT, "the entry has %zu bytes, more than queue.max_entry_bytes (%zu)",
			   payload.len, d->o.max_entry_bytes);
		hm_dead_entry(d, partition, lane, id->s, hm_str_n(payload.p, 4096), &e);
		return;
	}
	j = hm_job_new(d);
	if (j == NULL) {
		hm_pull_again(d, partition, lane);
		return;
	}
	bytes = hm_arena_str(&j->arena, payload);
	if (bytes.p == NULL || hm_job_decode(bytes, &j->zone, &j->spec, &e) != 0) {
		if (bytes.p == NULL || e.code == HM_ENOMEM)
			hm_pull_again(d, partition, lane);
		else
			hm_dead_entry(d, partition, lane, id->s, payload, &e);
		hm_job_free(j);
		return;
	}
	(void)hm_fault(HM_FAULT_decode_after);
	d->lanes[lane].pulled += j->spec.n_rcpts;
	j->partition = partition;
	j->lane = (uint8_t)lane;
	j->entry_len = (uint8_t)id->s.len;
	memcpy(j->entry, id->s.p, id->s.len);
	/* It was put aside meanwhile: what follows from an entry's id follows from the first it had. */
	if (first_id.p != NULL && parse_entry_id(first_id, &first_ms, &first_seq)) {
		j->spilled = true;
		ms = first_ms;
		seq = first_seq;
	}
	j->entry_ms = ms;
	j->bytes = (uint32_t)payload.len;
	j->redelivered = redelivered;
	j->foreign = foreign;
	if (j->spec.has_id)
		j->id = j->spec.id;
	else
		hm_job_derive_id(&j->id, partition, lane, ms, seq);
	j->origin = j->spec.res.there ? j->spec.res.job : j->id;
	j->accepted_ms = j->spec.res.there ? j->spec.res.accepted_ms : ms;
	j->expires_ms = j->spec.expires_ms ? j->spec.expires_ms
					   : hm_max(ms, j->spec.at_ms) + d->o.default_deadline_ms;
	if (!redelivered && hm_delay_takes(j, bytes))
		return;
	if (redelivered || j->spec.res.there)
		hm_recover_check(j);
	else if (!hm_spill_takes(j, bytes))
		hm_job_ready(j);
}

void hm_pull_entries(struct hm_dispatch *d, uint32_t partition, enum hm_lane lane,
		     const struct hm_reply *entries, bool redelivered, bool foreign)
{
	for (size_t i = 0; i < entries->n; i++)
		one_entry(d, partition, lane, &entries->v[i], redelivered, foreign);
	hm_spill_flush(d);
}

/* -- the reader --------------------------------------------------------------------------------- */

/* Messages this lane may still buffer; 0 = enough. */
static uint64_t wanted(const struct reader *r)
{
	const struct lane *l = &r->d->lanes[r->lane];

	if (l->buffered_msgs >= r->d->o.read_ahead || l->buffered_bytes >= BUFFER_MAX_BYTES)
		return 0;
	return r->d->o.read_ahead - l->buffered_msgs;
}

/* Up at once, down slowly: a read that is too big is what hurts. */
static void learn(struct reader *r, uint64_t entries, uint64_t msgs)
{
	struct lane *l = &r->d->lanes[r->lane];
	uint64_t now = hm_max(msgs * 16 / entries, (uint64_t)16);

	l->per_entry_x16 = (uint32_t)hm_max(now, (l->per_entry_x16 * 3u + now) / 4);
}

static bool retry_later(struct reader *r)
{
	if (!r->closed && !hm_timer_armed(&r->retry))
		hm_timer_start(r->d->t, &r->retry, RETRY_MS);
	return true;
}

static int part_index(const struct reader *r, struct hm_str key)
{
	for (uint32_t i = 0; i < r->n_parts; i++)
		if (hm_str_eq(r->key[i], key))
			return (int)i;
	return -1;
}

/* Read while reading stopped: what has never been looked into goes back as it is. */
static void came_late(struct reader *r, const struct hm_reply *reply)
{
	struct hm_dispatch *d = r->d;

	if (r->mode != READER_NEW || !d->draining || d->drained)
		return;
	for (size_t i = 0; reply->type == HM_REPLY_ARRAY && i < reply->n; i++) {
		const struct hm_reply *key = hm_reply_at(&reply->v[i], 0),
				      *list = hm_reply_at(&reply->v[i], 1);
		int p = key ? part_index(r, key->s) : -1;

		for (size_t k = 0; p >= 0 && list != NULL && list->type == HM_REPLY_ARRAY && k < list->n;
		     k++) {
			const struct hm_reply *id = hm_reply_at(&list->v[k], 0);

			if (id != NULL && id->type == HM_REPLY_STR)
				hm_handback_entry(d, r->parts[p], r->lane, id->s);
		}
	}
}

static void on_read(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct reader *r = arg;
	struct hm_dispatch *d = r->d;
	uint64_t entries = 0, before;
	struct lane *l = &d->lanes[r->lane];

	HM_CHECK(r, HM_READER_MAGIC);
	r->busy = false;
	if (r->closed) {
		if (reply != NULL)
			came_late(r, reply);
		hm_dispatch_check_drained(d);
		return;
	}
	if (reply == NULL) {
		/* The group is gone (stream deleted, FLUSHALL): made again. A lost connection starts over in on_up. */
		if (err->code == HM_EREDIS && strstr(err->text, "NOGROUP") != NULL) {
			r->mode = READER_GROUP;
			r->at = 0;
		} else if (err->code == HM_EREDIS) {
			HM_ERROR(INGEST, "a stream cannot be read", HM_S("lane", hm_lane_name(r->lane)),
				 HM_E(err));
		}
		retry_later(r);
		return;
	}
	(void)hm_fault(HM_FAULT_pull_after_read);
	before = l->pulled;
	for (size_t i = 0; reply->type == HM_REPLY_ARRAY && i < reply->n; i++) {
		const struct hm_reply *key = hm_reply_at(&reply->v[i], 0),
				      *list = hm_reply_at(&reply->v[i], 1);
		int p = key ? part_index(r, key->s) : -1;

		if (p < 0 || list == NULL || list->type != HM_REPLY_ARRAY)
			continue;
		hm_pull_entries(d, r->parts[p], r->lane, list, r->mode != READER_NEW,
				r->mode == READER_TAKEN);
		entries += list->n;
		if (r->mode != READER_NEW && list->n > 0) {
			const struct hm_reply *last = hm_reply_at(&list->v[list->n - 1], 0);

			if (last != NULL && last->s.len < sizeof(r->cursor)) {
				memcpy(r->cursor, last->s.p, last->s.len);
				r->cursor[last->s.len] = '\0';
			}
		}
	}
	if (r->mode != READER_NEW) {
		if (entries == 0) {
			strcpy(r->cursor, "0");
			if (++r->at == r->n_parts) {
				r->mode++;
				r->at = 0;
			}
		}
	} else if (entries > 0) {
		r->empty = 0;
		learn(r, entries, l->pulled - before);
	} else {
		r->empty = hm_min(r->empty + r->window, r->n_parts);
	}
	reader_go(r);
}

static void on_group(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct reader *r = arg;

	HM_CHECK(r, HM_READER_MAGIC);
	if (reply == NULL && !(err->code == HM_EREDIS && strstr(err->text, "BUSYGROUP") != NULL)) {
		r->group_failed = true;
		if (err->code == HM_EREDIS)
			HM_ERROR(INGEST, "a consumer group cannot be made",
				 HM_S("lane", hm_lane_name(r->lane)), HM_E(err));
	}
	if (--r->groups_open > 0)
		return;
	r->busy = false;
	if (r->closed) {
		hm_dispatch_check_drained(r->d);
		return;
	}
	if (r->group_failed) {
		retry_later(r);
		return;
	}
	r->mode = READER_OWN;
	r->at = 0;
	strcpy(r->cursor, "0");
	reader_go(r);
}

static void make_groups(struct reader *r)
{
	r->busy = true;
	r->group_failed = false;
	r->groups_open = r->n_parts;
	for (uint32_t i = 0; i < r->n_parts; i++) {
		const struct hm_str argv[] = {HM_STR("XGROUP"), HM_STR("CREATE"), r->key[i],
					      r->d->o.group,	HM_STR("0"),	  HM_STR("MKSTREAM")};

		hm_redis_line_send(r->line, argv, hm_countof(argv), 10000, on_group, r);
	}
}

/* Reads n partitions from `first` on. block: waits for something to come, at most block_ms. */
static void read_streams(struct reader *r, uint32_t first, uint32_t n_parts, uint32_t count, bool own,
			 bool block)
{
	struct hm_dispatch *d = r->d;
	char num[24], wait[24];
	size_t n = 0;

	snprintf(num, sizeof(num), "%u", count);
	snprintf(wait, sizeof(wait), "%u", d->o.block_ms);
	r->argv[n++] = HM_STR("XREADGROUP");
	r->argv[n++] = HM_STR("GROUP");
	r->argv[n++] = d->o.group;
	r->argv[n++] = hm_str_c(r->mode == READER_TAKEN ? d->taker : d->consumer);
	r->argv[n++] = HM_STR("COUNT");
	r->argv[n++] = hm_str_c(num);
	if (block) {
		r->argv[n++] = HM_STR("BLOCK");
		r->argv[n++] = hm_str_c(wait);
	}
	r->argv[n++] = HM_STR("STREAMS");
	for (uint32_t i = 0; i < n_parts; i++)
		r->argv[n++] = r->key[(first + i) % r->n_parts];
	for (uint32_t i = 0; i < n_parts; i++)
		r->argv[n++] = own ? hm_str_c(r->cursor) : HM_STR(">");
	r->busy = true;
	r->window = n_parts;
	hm_redis_line_send(r->line, r->argv, n, block ? d->o.block_ms + 10000 : 10000, on_read, r);
}

/* COUNT is per stream, so that a read of all partitions may bring many entries at once, each of up to 1,000
 * messages. While there is a backlog a few partitions are read at a time, in turn. */
static void read_new(struct reader *r, uint64_t want)
{
	struct hm_dispatch *d = r->d;
	uint64_t msgs = hm_min(want, (uint64_t)READ_MSGS);
	uint64_t entries = hm_max(msgs * 16 / d->lanes[r->lane].per_entry_x16, (uint64_t)1);
	uint32_t n = r->empty < r->n_parts ? (uint32_t)hm_min(entries, (uint64_t)r->n_parts) : r->n_parts;
	uint32_t count = (uint32_t)hm_min(hm_max(entries / n, (uint64_t)1), (uint64_t)d->o.read_count);

	read_streams(r, r->first, n, count, false, n == r->n_parts);
	r->first = (r->first + n) % r->n_parts;
}

static void reader_go(struct reader *r)
{
	struct hm_dispatch *d = r->d;
	uint64_t want, least;

	if (r->busy || r->closed || d->draining || hm_timer_armed(&r->retry) || !hm_redis_line_up(r->line))
		return;
	if (r->mode == READER_GROUP) {
		make_groups(r);
		return;
	}
	if (r->look_again && r->mode == READER_NEW) {
		r->look_again = false;
		r->mode = READER_OWN;
		r->at = 0;
		strcpy(r->cursor, "0");
	}
	want = wanted(r);
	/* Half empty before the next read: a reply is worth its round trip. Where tenants share, reading goes on while each
	 * fills its share, for the sake of those that stand behind it. */
	least = d->lanes[r->lane].runnable.tenants.len > 0 ? d->o.read_ahead / 8 : d->o.read_ahead / 2;
	if (want == 0 || (r->mode == READER_NEW && (want < least || hm_spill_busy(d))))
		return;
	if (r->mode != READER_NEW) {
		read_streams(r, r->at, 1, OWN_PAGE, true, false);
		return;
	}
	read_new(r, want);
}

static void on_retry(struct hm_timer *t)
{
	struct reader *r = hm_container_of(t, struct reader, retry);

	HM_CHECK(r, HM_READER_MAGIC);
	reader_go(r);
}

static void on_client_id(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct reader *r = arg;

	HM_CHECK(r, HM_READER_MAGIC);
	r->client_id = reply != NULL && reply->type == HM_REPLY_INT
			       ? reply->i
			       : 0; /* unknown: a blocked read ends by itself */
}

static void ignore(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
}

/* A read that waits for something to come need not wait any longer. */
static void unblock(struct reader *r)
{
	char id[24];
	const struct hm_str argv[] = {
		HM_STR("CLIENT"), HM_STR("UNBLOCK"),
		hm_str_n(id, (size_t)snprintf(id, sizeof(id), "%lld", (long long)r->client_id))};

	if (r->busy && r->client_id > 0 && r->d->redis_up)
		hm_redis_send(r->d->deps.redis, r->key[0], argv, hm_countof(argv), ignore, NULL);
}

static void on_up(void *arg)
{
	static const struct hm_str ask[] = {HM_STR("CLIENT"), HM_STR("ID")};
	struct reader *r = arg;

	HM_CHECK(r, HM_READER_MAGIC);
	if (r->closed)
		return;
	r->client_id = 0;
	hm_redis_line_send(r->line, ask, hm_countof(ask), 10000, on_client_id, r);
	hm_timer_stop(r->d->t, &r->retry);
	r->mode = READER_GROUP;
	r->at = 0;
	reader_go(r);
}

static void on_again(struct hm_timer *t)
{
	struct reader *r = hm_container_of(t, struct reader, again);

	HM_CHECK(r, HM_READER_MAGIC);
	r->look_again = true;
	reader_go(r);
}

void hm_pull_again(struct hm_dispatch *d, uint32_t partition, enum hm_lane lane)
{
	for (size_t i = 0; i < d->n_readers; i++) {
		struct reader *r = &d->readers[i];

		if (r->lane != lane || r->closed || hm_timer_armed(&r->again))
			continue;
		for (uint32_t p = 0; p < r->n_parts; p++)
			if (r->parts[p] == partition) {
				hm_timer_start(d->t, &r->again, AGAIN_MS);
				break;
			}
	}
}

void hm_pull_kick(struct hm_dispatch *d)
{
	for (size_t i = 0; i < d->n_readers; i++)
		reader_go(&d->readers[i]);
}

static bool reader_init(struct reader *r, struct hm_dispatch *d, enum hm_lane lane, const uint32_t *parts,
			uint32_t n)
{
	HM_MAGIC_SET(r, HM_READER_MAGIC);
	r->d = d;
	r->lane = lane;
	r->n_parts = n;
	r->empty = n;
	r->parts = malloc(n * sizeof(*r->parts));
	r->keys = malloc(n * sizeof(*r->keys));
	r->key = malloc(n * sizeof(*r->key));
	r->argv = malloc((2 * (size_t)n + 16) * sizeof(*r->argv));
	hm_timer_init(&r->retry, on_retry);
	hm_timer_init(&r->again, on_again);
	if (r->parts == NULL || r->keys == NULL || r->key == NULL || r->argv == NULL)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		r->parts[i] = parts[i];
		r->key[i] = hm_str_n(r->keys[i], hm_job_stream_key(d->o.prefix, parts[i], lane, r->keys[i],
								   sizeof(r->keys[i])));
	}
	r->line = hm_redis_line_open(d->deps.redis, r->key[0]);
	if (r->line == NULL)
		return false;
	hm_redis_line_on_up(r->line, on_up, r);
	if (hm_redis_line_up(r->line))
		on_up(r);
	return true;
}

int hm_pull_start(struct hm_dispatch *d, struct hm_err *e)
{
	bool cluster = hm_redis_is_cluster(d->deps.redis);
	uint32_t *parts = malloc(d->o.partitions * sizeof(*parts)), n = 0;
	size_t k = 0;

	if (parts == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	for (uint32_t p = 0; p < d->o.partitions; p++)
		if (hm_pull_owns(d, p))
			parts[n++] = p;
	d->n_readers = n == 0 ? 0 : HM_LANE_COUNT * (size_t)(cluster ? n : 1);
	d->readers = calloc(d->n_readers ? d->n_readers : 1, sizeof(*d->readers));
	if (d->readers == NULL) {
		d->n_readers = 0;
		free(parts);
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	}
	for (int l = 0; l < HM_LANE_COUNT && n > 0; l++) {
		for (uint32_t i = 0; i < (cluster ? n : 1); i++) {
			if (!reader_init(&d->readers[k++], d, (enum hm_lane)l, cluster ? &parts[i] : parts,
					 cluster ? 1 : n)) {
				free(parts);
				return hm_err_set(e, HM_ENOMEM, "out of memory");
			}
		}
	}
	free(parts);
	return 0;
}

void hm_pull_stop(struct hm_dispatch *d)
{
	for (size_t i = 0; i < d->n_readers; i++) {
		struct reader *r = &d->readers[i];

		if (!r->closed)
			unblock(r);
		r->closed = true;
		hm_timer_stop(d->t, &r->retry);
		hm_timer_stop(d->t, &r->again);
	}
}

bool hm_pull_idle(const struct hm_dispatch *d)
{
	for (size_t i = 0; i < d->n_readers; i++)
		if (d->readers[i].busy)
			return false;
	return true;
}

/* The lines fail what is pending, from their close. */
void hm_pull_close(struct hm_dispatch *d)
{
	hm_pull_stop(d);
	for (size_t i = 0; i < d->n_readers; i++) {
		if (d->readers[i].line != NULL)
			hm_redis_line_close(d->readers[i].line);
		d->readers[i].line = NULL;
	}
}

void hm_pull_free(struct hm_dispatch *d)
{
	for (size_t i = 0; i < d->n_readers; i++) {
		free(d->readers[i].parts);
		free(d->readers[i].keys);
		free(d->readers[i].key);
		free(d->readers[i].argv);
		HM_MAGIC_CLEAR(&d->readers[i]);
	}
	free(d->readers);
	d->readers = NULL;
	d->n_readers = 0;
}
