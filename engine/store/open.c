/*
 * open.c - start, recovery, the read-only view, close
 *
 * The newest segment says how the counters stood when it began; its records say
 * what came since. So opening reads one segment, whatever the ledger's size; older
 * ones only get their index mapped, or built again when it is missing.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/ledger_int.h"
#include "store/pack.h"

/* -- a new segment ---------------------------------------------------------------------- */

static int write_new(const char *dir, const char *path, const struct hm_buf *b, bool sync, int *fd_r)
{
	char tmp[HM_SEG_PATH + 8];
	size_t done = 0;
	int fd, dfd;

	snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	fd = open(tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0)
		return -1;
	while (done < b->len) {
		ssize_t w = write(fd, b->p + done, b->len - done);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			goto failed;
		done += (size_t)w;
	}
	if ((sync && fdatasync(fd) < 0) || rename(tmp, path) < 0)
		goto failed;
	if (sync) { /* the name must survive too */
		dfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dfd < 0 || fsync(dfd) < 0) {
			if (dfd >= 0)
				close(dfd);
			unlink(path);
			goto failed;
		}
		close(dfd);
	}
	*fd_r = fd;
	return 0;
failed:
	done = (size_t)errno;
	close(fd);
	unlink(tmp);
	errno = (int)done;
	return -1;
}

/* Appears under its name only when the snapshot is in it. */
int hm_ledger_new_segment(struct hm_ledger *l, uint64_t seq, struct hm_seg **s_r, int *fd_r, struct hm_err *e)
{
	uint64_t now = hm_clock_wall_ms();
	struct hm_seg *s = hm_seg_new(seq);
	char path[HM_SEG_PATH];
	struct hm_buf b;
	int rc = 0;

	hm_buf_init(&b, HM_FRAME_MAX);
	if (s == NULL || (s->mem = hm_mem_new()) == NULL || !hm_buf_reserve(&b, HM_FRAME_HEAD)) {
		rc = hm_err_set(e, HM_ENOMEM, "out of memory starting a ledger segment");
		goto out;
	}
	b.len = HM_FRAME_HEAD;
	hm_counts_write(&l->counts, seq, now, &b);
	if (b.err) {
		rc = hm_err_set(e, b.err, "out of memory starting a ledger segment");
		goto out;
	}
	hm_frame_seal(b.p, b.len - HM_FRAME_HEAD, 0, HM_FRAME_SNAPSHOT, now);
	if (write_new(l->dir, hm_seg_path(l->dir, seq, HM_SEG_LOG, path), &b,
		      l->o.sync == HM_LEDGER_SYNC_ALWAYS, fd_r) < 0) {
		rc = hm_err_set(e, HM_EIO, "cannot write %s: %s", path, strerror(errno));
		goto out;
	}
	s->created_ms = s->last_ms = now;
	s->end = s->disk = b.len;
	__atomic_add_fetch(&l->disk_bytes, b.len, __ATOMIC_RELAXED);
	*s_r = s;
out:
	if (rc < 0)
		hm_seg_unref(s);
	hm_buf_fini(&b);
	return rc;
}

/* -- reading back ------------------------------------------------------------------------- */

struct replay {
	struct hm_ledger *l;
	struct hm_seg *s;
	bool count; /* the newest segment: its records move the counters */
};

static int on_record(void *arg, const struct hm_rec *r, uint32_t off, struct hm_str payload)
{
	struct replay *p = arg;
	struct hm_counts_row *row;

	row = hm_counts_row(&p->l->counts, r->campaign_hash,
			    hm_str_n(payload.p + r->campaign_off, r->campaign_len));
	if (row == NULL)
		return HM_ENOMEM;
	row->last_seq = hm_max(row->last_seq, p->s->seq);
	if (p->count)
		hm_counts_apply(row, r, payload.p + r->off);
	if (r->flags & HM_REC_DEAD)
		return 0;
	if (!hm_mem_reserve(p->s->mem, r->kind == HM_REC_MSG, r->kind != HM_REC_MSG))
		return HM_ENOMEM;
	hm_mem_add(p->s->mem, r, off, p->s->seq, row);
	return 0;
}

/* Fills s->mem from its records. *len_r = bytes there were; s->end = bytes that are good. */
static int load_mem(struct hm_ledger *l, struct hm_seg *s, bool count, size_t *len_r, struct hm_err *e)
{
	struct replay p = {l, s, count};
	size_t end = 0;
	char *bytes;
	int rc;

	rc = hm_seg_image(l->dir, s->seq, &bytes, len_r, e);
	if (rc < 0)
		return rc;
	s->mem = hm_mem_new();
	rc = s->mem ? hm_seg_walk(hm_str_n(bytes, *len_r), on_record, &p, &end, &s->last_ms) : HM_ENOMEM;
	free(bytes);
	if (rc < 0)
		return hm_err_set(e, rc, "cannot read ledger segment %" PRIu64 ": %s", s->seq,
				  rc == HM_ENOMEM ? "out of memory" : "a record is damaged");
	s->end = end;
	return 0;
}

/* The snapshot a segment starts with. */
static int load_snapshot(struct hm_ledger *l, uint64_t seq, struct hm_err *e)
{
	uint64_t said_seq, created_ms;
	struct hm_frame f;
	size_t len;
	char *bytes;
	int rc = hm_seg_image(l->dir, seq, &bytes, &len, e);

	if (rc < 0)
		return rc;
	rc = HM_ESTORE;
	if (hm_frame_read(hm_str_n(bytes, len), &f) && f.kind == HM_FRAME_SNAPSHOT) {
		rc = hm_counts_read(&l->counts, f.payload, &said_seq, &created_ms);
		if (rc == 0 && said_seq != seq)
			rc = HM_ESTORE;
	}
	free(bytes);
	if (rc < 0) {
		hm_counts_fini(&l->counts);
		hm_err_set(e, rc, "ledger segment %" PRIu64 " has no readable beginning", seq);
	}
	return rc;
}

static int seq_cmp(const void *a, const void *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x < y ? -1 : x > y;
}

/* The segments there are, ascending, each once. Temporary files are rubbish of a crash. */
static int list_segments(struct hm_ledger *l, uint64_t **v_r, size_t *n_r, struct hm_err *e)
{
	DIR *d = opendir(l->dir);
	uint64_t *v = NULL;
	size_t n = 0, cap = 0, out = 0;
	struct dirent *de;

	if (d == NULL && errno == ENOENT)
		return hm_err_set(e, HM_ENOENT,
				  "there is no ledger in %s: the engine has not run with this folder",
				  l->dir);
	if (d == NULL)
		return hm_err_set(e, HM_EIO, "cannot open the ledger in %s: %s", l->dir, strerror(errno));
	while ((de = readdir(d)) != NULL) {
		struct hm_str name = hm_str_c(de->d_name);
		uint64_t seq;

		if (name.len > 4 && hm_str_ends(name, HM_STR(".tmp")) && !l->readonly)
			unlinkat(dirfd(d), de->d_name, 0);
		if (!hm_str_ends(name, HM_STR(".log")) && !hm_str_ends(name, HM_STR(".pack")))
			continue;
		if (name.len < 17 || name.p[16] != '.' || !hm_str_u64(hm_str_n(name.p, 16), &seq) || seq == 0)
			continue;
		if (n == cap) {
			uint64_t *p = realloc(v, (cap = cap ? cap * 2 : 64) * sizeof(*v));

			if (p == NULL) {
				free(v);
				closedir(d);
				return hm_err_set(e, HM_ENOMEM, "out of memory opening the ledger");
			}
			v = p;
		}
		v[n++] = seq;
	}
	closedir(d);
	if (n)
		qsort(v, n, sizeof(*v), seq_cmp);
	for (size_t i = 0; i < n; i++)
		if (out == 0 || v[out - 1] != v[i])
			v[out++] = v[i];
	*v_r = v;
	*n_r = out;
	return 0;
}

static bool exists(const char *dir, uint64_t seq, enum hm_seg_file f, uint64_t *size_r)
{
	char path[HM_SEG_PATH];
	struct stat st;

	if (stat(hm_seg_path(dir, seq, f, path), &st) < 0)
		return false;
	*size_r += (uint64_t)st.st_size;
	return true;
}

static int load_sealed(struct hm_ledger *l, struct hm_seg *s, struct hm_err *e)
{
	char path[HM_SEG_PATH];
	size_t len = 0;
	int rc = hm_idx_open(hm_seg_path(l->dir, s->seq, HM_SEG_IDX, path), s->seq, &s->idx, e);

	if (rc == 0) {
		s->end = s->idx->end;
		s->last_ms = s->idx->last_ms;
	} else if (rc == HM_ENOENT || rc == HM_ESTORE) {
		rc = load_mem(l, s, false, &len, e);
		if (rc == 0 && s->end < len)
			HM_ERROR(LEDGER, "segment_damaged", HM_U("segment", s->seq),
				 HM_U("from_byte", s->end), HM_U("bytes", len));
	}
	return rc;
}

/* A torn end is what a kill in the middle of a write leaves: never told durable, so it goes. */
static int reopen_active(struct hm_ledger *l, struct hm_seg *s, size_t len, struct hm_err *e)
{
	char path[HM_SEG_PATH];
	int fd = open(hm_seg_path(l->dir, s->seq, HM_SEG_LOG, path), O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return hm_err_set(e, HM_EIO, "cannot open %s: %s", path, strerror(errno));
	if (s->end < len) {
		HM_WARN(LEDGER, "torn_end_cut", HM_U("segment", s->seq), HM_U("bytes", len - s->end));
		if (ftruncate(fd, (off_t)s->end) < 0) {
			close(fd);
			return hm_err_set(e, HM_EIO, "cannot cut the torn end of %s: %s", path,
					  strerror(errno));
		}
	}
	l->active_fd = fd;
	l->active = s;
	l->active_first_ms = s->mem->n_msgs + s->mem->n_jobs ? s->created_ms : 0;
	return 0;
}

static int load(struct hm_ledger *l, const uint64_t *seqs, size_t n, struct hm_err *e)
{
	struct hm_seglist *list = hm_seglist_new(n + 1);
	size_t len = 0;
	int rc = list ? 0 : hm_err_set(e, HM_ENOMEM, "out of memory opening the ledger");

	if (rc < 0)
		return rc;
	list->n = 0;
	l->segs = list;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct hm_seg *s = hm_seg_new(seqs[i]);
		uint64_t logged = 0, packed = 0, indexed = 0;
		bool newest = i == n - 1, has_log;

		if (s == NULL)
			return hm_err_set(e, HM_ENOMEM, "out of memory opening the ledger");
		list->v[list->n++] = s;
		s->created_ms = hm_clock_wall_ms();
		has_log = exists(l->dir, s->seq, HM_SEG_LOG, &logged);
		s->packed = exists(l->dir, s->seq, HM_SEG_PACK, &packed);
		if (has_log && s->packed && !l->readonly) { /* killed between the two: compress again */
			char path[HM_SEG_PATH];

			unlink(hm_seg_path(l->dir, s->seq, HM_SEG_PACK, path));
			s->packed = false;
			packed = 0;
		}
		exists(l->dir, s->seq, HM_SEG_IDX, &indexed);
		s->disk = logged + packed + indexed;
		l->disk_bytes += s->disk;
		rc = newest ? load_mem(l, s, true, &len, e) : load_sealed(l, s, e);
		if (rc == HM_ENOENT && l->readonly) { /* it expired under our eyes */
			hm_seg_unref(s);
			list->n--;
			rc = 0;
			continue;
		}
		l->any_moved |= rc == 0 && (s->idx != NULL ? s->idx->n_moved : s->mem->n_moved) > 0;
		if (rc == 0 && newest && !l->readonly && has_log && indexed == 0)
			rc = reopen_active(l, s, len, e);
	}
	return rc;
}

/* Every campaign row must be made before the walk of the newest, so its snapshot comes first. A newest segment
 * without a readable beginning was being created when the power went: it holds nothing. */
static int recover(struct hm_ledger *l, struct hm_err *e)
{
	uint64_t *seqs = NULL;
	size_t n = 0;
	int rc = list_segments(l, &seqs, &n, e);

	while (rc == 0 && n > 0) {
		rc = load_snapshot(l, seqs[n - 1], e);
		if (rc != HM_ESTORE || n == 1)
			break;
		HM_WARN(LEDGER, "empty_segment_dropped", HM_U("segment", seqs[n - 1]));
		if (!l->readonly)
			hm_seg_unlink(l->dir, seqs[n - 1]);
		n--;
		rc = 0;
	}
	if (rc == 0)
		rc = load(l, seqs, n, e);
	if (rc == 0 && n > 0)
		hm_counts_forget(&l->counts, seqs[0] - 1);
	free(seqs);
	return rc;
}

/* Sealed segments whose index or compression the last run did not get to; a fresh active one when there is none. */
static int resume(struct hm_ledger *l, struct hm_err *e)
{
	uint64_t last = l->segs->n ? l->segs->v[l->segs->n - 1]->seq : 0;

	if (l->active == NULL) {
		int rc = hm_ledger_new_segment(l, last + 1, &l->active, &l->active_fd, e);

		if (rc < 0)
			return rc;
		l->segs->v[l->segs->n++] = l->active; /* load() left room for it */
	}
	for (size_t i = 0; i + 1 < l->segs->n; i++) {
		struct hm_seg *s = l->segs->v[i];

		if (s->idx == NULL)
			hm_keepers_index(l, s);
		else if (!s->packed)
			hm_keepers_pack(l, s);
	}
	return 0;
}

/* -- open and close ------------------------------------------------------------------------ */

static void destroy(struct hm_ledger *l)
{
	struct hm_seg *s;

	while ((s = l->k_head) != NULL) {
		l->k_head = s->next;
		hm_seg_unref(s);
	}
	while ((s = l->p_stack) != NULL) {
		l->p_stack = s->next;
		hm_seg_unref(s);
	}
	if (l->active_fd >= 0)
		close(l->active_fd);
	hm_seglist_unref(l->segs);
	hm_counts_fini(&l->counts);
	if (l->lock_fd >= 0)
		close(l->lock_fd);
	uv_mutex_destroy(&l->commit);
	uv_mutex_destroy(&l->q_mu);
	uv_mutex_destroy(&l->k_mu);
	uv_mutex_destroy(&l->h_mu);
	uv_cond_destroy(&l->q_cond);
	uv_cond_destroy(&l->k_cond);
	uv_sem_destroy(&l->p_sem);
	pthread_rwlock_destroy(&l->lock);
	HM_MAGIC_CLEAR(l);
	free(l);
}

static int create(const struct hm_ledger_opts *o, struct hm_ledger **l_r, struct hm_err *e)
{
	struct hm_ledger *l = calloc(1, sizeof(*l));
	pthread_rwlockattr_t attr;

	if (l == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory opening the ledger");
	if (o->dir.len == 0 || o->dir.len >= sizeof(l->dir) - 64) {
		free(l);
		return hm_err_set(e, HM_EINVAL, "the ledger's directory name is empty or too long");
	}
	HM_MAGIC_SET(l, HM_LEDGER_MAGIC);
	l->o = *o;
	memcpy(l->dir, o->dir.p, o->dir.len);
	l->o.dir = hm_str_c(l->dir);
	l->o.segment_bytes = o->segment_bytes ? hm_min(o->segment_bytes, HM_FRAME_MAX) : HM_LEDGER_SEGMENT;
	l->o.cache_bytes = o->cache_bytes ? o->cache_bytes : HM_LEDGER_CACHE;
	l->o.queue_max_bytes = o->queue_max_bytes ? o->queue_max_bytes : HM_LEDGER_QUEUE;
	l->o.sync_interval_ms = o->sync_interval_ms ? o->sync_interval_ms : 1000;
	l->lock_fd = l->active_fd = -1;
	/* A stream of look-ups must not keep the ledger thread waiting. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&l->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	hm_assert(uv_mutex_init(&l->commit) == 0 && uv_mutex_init(&l->q_mu) == 0 &&
		  uv_mutex_init(&l->k_mu) == 0 && uv_mutex_init(&l->h_mu) == 0 &&
		  uv_cond_init(&l->q_cond) == 0 && uv_cond_init(&l->k_cond) == 0 &&
		  uv_sem_init(&l->p_sem, 0) == 0);
	hm_counts_init(&l->counts);
	*l_r = l;
	return 0;
}

static int take_lock(struct hm_ledger *l, struct hm_err *e)
{
	char path[HM_SEG_PATH];

	if (mkdir(l->dir, 0750) < 0 && errno != EEXIST)
		return hm_err_set(e, HM_EIO, "cannot create %s: %s", l->dir, strerror(errno));
	snprintf(path, sizeof(path), "%s/LOCK", l->dir);
	l->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (l->lock_fd < 0)
		return hm_err_set(e, HM_EIO, "cannot open %s: %s", path, strerror(errno));
	if (flock(l->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return hm_err_set(e, errno == EWOULDBLOCK ? HM_EEXIST : HM_EIO,
				  errno == EWOULDBLOCK
					  ? "the ledger in %s is in use by another Hermod process"
					  : "cannot lock the ledger in %s",
				  l->dir);
	return 0;
}

int hm_ledger_open(const struct hm_ledger_opts *o, struct hm_ledger **l_r, struct hm_err *e)
{
	struct hm_ledger *l;
	int rc = create(o, &l, e);

	if (rc < 0)
		return rc;
	rc = take_lock(l, e);
	if (rc == 0)
		rc = recover(l, e);
	if (rc == 0)
		rc = resume(l, e);
	if (rc == 0) {
		l->stats = hm_stats_new();
		l->started = true;
		rc = l->stats ? hm_keepers_start(l, e)
			      : hm_err_set(e, HM_ENOMEM, "out of memory opening the ledger");
	}
	if (rc == 0 && uv_thread_create(&l->thread, hm_ledger_thread, l) != 0) {
		hm_keepers_stop(l);
		rc = hm_err_set(e, HM_EIO, "cannot start the ledger's thread");
	}
	if (rc < 0) {
		destroy(l);
		return rc;
	}
	*l_r = l;
	return 0;
}

int hm_ledger_open_readonly(struct hm_str dir, struct hm_ledger **l_r, struct hm_err *e)
{
	const struct hm_ledger_opts o = {.dir = dir};
	int rc = HM_ENOENT;

	/* A running engine seals, compresses and expires meanwhile: then look again. */
	for (int try = 0; rc == HM_ENOENT && try < 10; try++) {
		struct hm_ledger *l;

		rc = create(&o, &l, e);
		if (rc < 0)
			return rc;
		l->readonly = true;
		rc = recover(l, e);
		if (rc == 0 && l->segs->n == 0)
			rc = hm_err_set(e, HM_ENOENT, "there is no ledger in %.*s yet", HM_STRF(dir));
		if (rc == 0) {
			l->active = l->segs->v[l->segs->n - 1];
			*l_r = l;
			return 0;
		}
		destroy(l);
	}
	return rc;
}

void hm_ledger_close(struct hm_ledger *l)
{
	if (l == NULL)
		return;
	HM_CHECK(l, HM_LEDGER_MAGIC);
	if (!l->readonly) {
		uv_mutex_lock(&l->q_mu);
		l->stop = true;
		uv_mutex_unlock(&l->q_mu);
		uv_cond_signal(&l->q_cond);
		uv_thread_join(&l->thread);
		hm_keepers_stop(l);
		if (l->o.sync != HM_LEDGER_SYNC_OFF && fdatasync(l->active_fd) < 0)
			HM_WARN(LEDGER, "sync_failed", HM_S("errno", strerror(errno)));
	}
	destroy(l);
}

void hm_ledger_health(struct hm_ledger *l, struct hm_ledger_health *h)
{
	HM_CHECK(l, HM_LEDGER_MAGIC);
	uv_mutex_lock(&l->h_mu);
	*h = l->h;
	uv_mutex_unlock(&l->h_mu);
	h->queued_bytes = __atomic_load_n(&l->q_bytes, __ATOMIC_RELAXED);
	h->disk_bytes = __atomic_load_n(&l->disk_bytes, __ATOMIC_RELAXED);
	h->records = __atomic_load_n(&l->records, __ATOMIC_RELAXED);
	h->unindexed = __atomic_load_n(&l->unindexed, __ATOMIC_RELAXED);
	h->unpacked = __atomic_load_n(&l->unpacked, __ATOMIC_RELAXED);
	pthread_rwlock_rdlock(&l->lock);
	h->segments = (uint32_t)l->segs->n;
	pthread_rwlock_unlock(&l->lock);
}
