/*
 * idx.c - build and read the index of a sealed segment
 *
 * Building is sorting, and sorting is radix passes over the bytes that differ: ids of one segment share most of
 * their time, so of 8 passes usually 4 or 5 do anything. Measured: README.md.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/obj.h"
#include "store/idx.h"

#define FILE_MAGIC   0x31584948u /* "HIX1" */
#define HEADER_BYTES 256
#define CAMP_BYTES   24
#define JOB_BYTES    16
#define VERSION	     2 /* 1 did not say which messages of a job a record is about: built again */

/* -- sorting -------------------------------------------------------------------- */

struct key {
	uint64_t k;
	uint32_t place;
};

static uint64_t be64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	v = __builtin_bswap64(v);
#endif
	return v;
}

/* Stable, least significant byte first; bytes that are the same everywhere cost nothing. Result in v. */
static void radix(struct key *v, struct key *tmp, uint32_t n)
{
	static _Thread_local uint32_t count[8][256];
	struct key *from = v, *to = tmp;

	memset(count, 0, sizeof(count));
	for (uint32_t i = 0; i < n; i++)
		for (unsigned b = 0; b < 8; b++)
			count[b][v[i].k >> (8 * b) & 255]++;
	for (unsigned b = 0; b < 8; b++) {
		uint32_t at = 0;
		struct key *swap = from;

		if (n == 0 || count[b][from[0].k >> (8 * b) & 255] == n)
			continue;
		for (unsigned d = 0; d < 256; d++) {
			uint32_t c = count[b][d];

			count[b][d] = at;
			at += c;
		}
		for (uint32_t i = 0; i < n; i++)
			to[count[b][from[i].k >> (8 * b) & 255]++] = from[i];
		from = to;
		to = swap;
	}
	if (from != v)
		memcpy(v, from, (size_t)n * sizeof(*v));
}

static const struct hm_ulid *id_at(const void *ids, size_t stride, uint32_t place)
{
	return (const struct hm_ulid *)(const void *)((const char *)ids + stride * place);
}

bool hm_sort_ids(const void *ids, size_t stride, uint32_t n, uint32_t *order)
{
	struct key *v = malloc(2 * (size_t)n * sizeof(*v) + 1), *tmp;

	if (v == NULL)
		return false;
	tmp = v + n;
	for (uint32_t i = 0; i < n; i++)
		v[i] = (struct key){be64(id_at(ids, stride, i)->b), i};
	radix(v, tmp, n);
	/* The messages of one chunk share the first half of their ids: sort each such run by the second half. */
	for (uint32_t i = 0; i < n;) {
		uint32_t end = i + 1;
		bool sorted = true;

		while (end < n && v[end].k == v[i].k)
			end++;
		if (end - i > 1) {
			uint64_t last = 0;

			for (uint32_t q = i; q < end; q++) {
				v[q].k = be64(id_at(ids, stride, v[q].place)->b + 8);
				sorted &= last <= v[q].k;
				last = v[q].k;
			}
			if (!sorted)
				radix(v + i, tmp, end - i);
		}
		i = end;
	}
	for (uint32_t i = 0; i < n; i++)
		order[i] = v[i].place;
	free(v);
	return true;
}

/* -- building ------------------------------------------------------------------- */

struct section {
	uint64_t off, len;
};
enum { S_IDS, S_OFFS, S_STATES, S_RECIPS, S_CAMPS, S_POSTS, S_JOB_IDS, S_JOBS, S_NAMES, S_COUNT };

struct layout {
	uint32_t n, n_recips, n_camps, n_jobs;
	struct section s[S_COUNT];
	uint64_t size;
};

static void layout_fill(struct layout *l, uint64_t names_len)
{
	const uint64_t len[S_COUNT] = {16ull * l->n,
				       4ull * l->n,
				       l->n,
				       8ull * l->n_recips,
				       CAMP_BYTES * (uint64_t)l->n_camps,
				       4ull * l->n,
				       16ull * l->n_jobs,
				       (uint64_t)JOB_BYTES * l->n_jobs,
				       names_len};

	l->size = HEADER_BYTES;
	for (int i = 0; i < S_COUNT; i++) {
		l->s[i] = (struct section){l->size, len[i]};
		l->size += (len[i] + 7) & ~7ull;
	}
}

/* magic u32, version u32, seq, end, last_ms, size u64, four counts u32, names u64, four ids,
 * records of what moved u32, checksum */
static void header_put(char *h, const struct layout *l, const struct hm_mem *m, uint64_t seq, uint64_t end,
		       uint64_t last_ms)
{
	hm_le32_put(h, FILE_MAGIC);
	hm_le32_put(h + 4, VERSION);
	hm_le64_put(h + 8, seq);
	hm_le64_put(h + 16, end);
	hm_le64_put(h + 24, last_ms);
	hm_le64_put(h + 32, l->size);
	hm_le32_put(h + 40, l->n);
	hm_le32_put(h + 44, l->n_recips);
	hm_le32_put(h + 48, l->n_camps);
	hm_le32_put(h + 52, l->n_jobs);
	hm_le64_put(h + 56, l->s[S_NAMES].len);
	memcpy(h + 64, m->min_msg.b, 16);
	memcpy(h + 80, m->max_msg.b, 16);
	memcpy(h + 96, m->min_job.b, 16);
	memcpy(h + 112, m->max_job.b, 16);
	hm_le32_put(h + 128, m->n_moved);
	hm_le64_put(h + HEADER_BYTES - 8, hm_hash64(h, HEADER_BYTES - 8, FILE_MAGIC));
}

struct camp_order {
	uint64_t hash;
	uint32_t place;
};

static int camp_cmp(const void *a, const void *b)
{
	const struct camp_order *x = a, *y = b;

	return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* Dictionary sorted by hash, postings by counting. */
static bool fill_campaigns(char *map, const struct layout *l, const struct hm_mem *m, const uint32_t *order)
{
	struct camp_order *by_hash = calloc((size_t)l->n_camps + 1, sizeof(*by_hash));
	uint32_t *next = calloc((size_t)l->n_camps + 1,
				sizeof(*next)); /* next posting of a campaign, by place */
	uint32_t at = 0, name_off = 0;
	bool ok = by_hash && next;

	if (!ok)
		goto out;
	for (uint32_t i = 0; i < l->n; i++)
		next[m->msgs[i].campaign]++;
	for (uint32_t i = 0; i < l->n_camps; i++)
		by_hash[i] = (struct camp_order){hm_rec_campaign_hash(hm_counts_name(m->campaigns[i])), i};
	qsort(by_hash, l->n_camps, sizeof(*by_hash), camp_cmp);
	for (uint32_t i = 0; i < l->n_camps; i++) {
		const struct hm_counts_row *row = m->campaigns[by_hash[i].place];
		char *c = map + l->s[S_CAMPS].off + CAMP_BYTES * (size_t)i;
		uint32_t count = next[by_hash[i].place];

		hm_le64_put(c, by_hash[i].hash);
		hm_le32_put(c + 8, name_off);
		hm_le32_put(c + 12, (uint32_t)row->len);
		hm_le32_put(c + 16, at);
		hm_le32_put(c + 20, count);
		if (row->len)
			memcpy(map + l->s[S_NAMES].off + name_off, row->name, row->len);
		name_off += (uint32_t)row->len;
		next[by_hash[i].place] = at;
		at += count;
	}
	for (uint32_t rank = 0; rank < l->n; rank++)
		hm_le32_put(map + l->s[S_POSTS].off + 4 * (size_t)next[m->msgs[order[rank]].campaign]++,
			    rank);
out:
	free(by_hash);
	free(next);
	return ok;
}

static bool fill_recips(char *map, const struct layout *l, const struct hm_mem *m, const uint32_t *order)
{
	struct key *v = malloc(2 * (size_t)l->n_recips * sizeof(*v) + 1);
	uint32_t at = 0;

	if (v == NULL)
		return false;
	for (uint32_t rank = 0; rank < l->n; rank++) {
		const struct hm_mem_msg *g = &m->msgs[order[rank]];

		if (g->address_hash)
			v[at++] = (struct key){g->address_hash, rank};
		if (g->user_hash && g->user_hash != g->address_hash)
			v[at++] = (struct key){g->user_hash, rank};
	}
	radix(v, v + l->n_recips, l->n_recips); /* stable: equal hashes stay in rank order */
	for (uint32_t i = 0; i < l->n_recips; i++) {
		char *p = map + l->s[S_RECIPS].off + 8 * (size_t)i;

		hm_le32_put(p, (uint32_t)v[i].k);
		hm_le32_put(p + 4, v[i].place);
	}
	free(v);
	return true;
}

static bool fill(char *map, const struct layout *l, const struct hm_mem *m)
{
	uint32_t most = hm_max(m->n_msgs, m->n_jobs);
	uint32_t *order = malloc((size_t)most * 4 + 1);
	bool ok = order && hm_sort_ids(m->jobs, sizeof(*m->jobs), m->n_jobs, order);

	for (uint32_t i = 0; ok && i < m->n_jobs; i++) {
		const struct hm_mem_job *j = &m->jobs[order[i]];
		char *p = map + l->s[S_JOBS].off + JOB_BYTES * (size_t)i;

		memcpy(map + l->s[S_JOB_IDS].off + 16 * (size_t)i, j->id.b, 16);
		hm_le32_put(p, j->at.off);
		hm_le32_put(p + 4, j->at.n0);
		hm_le32_put(p + 8, j->at.n);
		hm_le32_put(p + 12, j->at.hop);
	}
	ok = ok && hm_sort_ids(m->msgs, sizeof(*m->msgs), m->n_msgs, order);
	for (uint32_t rank = 0; ok && rank < m->n_msgs; rank++) {
		const struct hm_mem_msg *g = &m->msgs[order[rank]];

		memcpy(map + l->s[S_IDS].off + 16 * (size_t)rank, g->id.b, 16);
		hm_le32_put(map + l->s[S_OFFS].off + 4 * (size_t)rank, g->off);
		map[l->s[S_STATES].off + rank] = (char)(g->state | g->unknown << 4);
	}
	ok = ok && fill_recips(map, l, m, order) && fill_campaigns(map, l, m, order);
	free(order);
	return ok;
}

static int write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return -1;
		p += w;
		n -= (size_t)w;
	}
	return 0;
}

int hm_idx_build(const char *path, const struct hm_mem *m, uint64_t seq, uint64_t end, uint64_t last_ms,
		 bool sync, struct hm_err *e)
{
	struct layout l = {.n = m->n_msgs, .n_jobs = m->n_jobs, .n_camps = m->n_campaigns};
	uint64_t names = 0;
	char tmp[4096], *map = NULL;
	int fd = -1, rc = HM_ENOMEM;

	for (uint32_t i = 0; i < m->n_msgs; i++) {
		const struct hm_mem_msg *g = &m->msgs[i];

		l.n_recips += (g->address_hash ? 1u : 0u) +
			      (g->user_hash && g->user_hash != g->address_hash ? 1u : 0u);
	}
	for (uint32_t i = 0; i < m->n_campaigns; i++)
		names += m->campaigns[i]->len;
	layout_fill(&l, names);
	map = calloc(1, l.size);
	if (map == NULL || !fill(map, &l, m)) {
		hm_err_set(e, HM_ENOMEM, "out of memory indexing a ledger segment");
		goto out;
	}
	header_put(map, &l, m, seq, end, last_ms);
	rc = HM_EIO;
	if (snprintf(tmp, sizeof(tmp), "%s.tmp", path) >= (int)sizeof(tmp))
		goto out;
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0 || write_all(fd, map, l.size) < 0 || (sync && fdatasync(fd) < 0) ||
	    rename(tmp, path) < 0) {
		rc = hm_err_set(e, HM_EIO, "cannot write %s: %s", path, strerror(errno));
		unlink(tmp);
		goto out;
	}
	rc = 0;
out:
	if (fd >= 0)
		close(fd);
	free(map);
	return rc;
}

/* -- reading -------------------------------------------------------------------- */

int hm_idx_parse(struct hm_idx *x, const void *bytes, size_t size, uint64_t seq)
{
	const char *h = bytes;
	struct layout l;

	memset(x, 0, sizeof(*x));
	if (size < HEADER_BYTES || hm_le32(h) != FILE_MAGIC || hm_le32(h + 4) != VERSION ||
	    hm_le64(h + HEADER_BYTES - 8) != hm_hash64(h, HEADER_BYTES - 8, FILE_MAGIC) ||
	    (seq && hm_le64(h + 8) != seq) || hm_le64(h + 56) > size)
		return HM_ESTORE;
	l = (struct layout){.n = hm_le32(h + 40),
			    .n_recips = hm_le32(h + 44),
			    .n_camps = hm_le32(h + 48),
			    .n_jobs = hm_le32(h + 52)};
	layout_fill(&l, hm_le64(h + 56));
	if (l.size != size || hm_le64(h + 32) != size)
		return HM_ESTORE;
	HM_MAGIC_SET(x, HM_IDX_MAGIC);
	x->n = l.n;
	x->n_recips = l.n_recips;
	x->n_camps = l.n_camps;
	x->n_jobs = l.n_jobs;
	x->n_moved = hm_le32(h + 128);
	x->end = hm_le64(h + 16);
	x->last_ms = hm_le64(h + 24);
	memcpy(x->min_msg.b, h + 64, 16);
	memcpy(x->max_msg.b, h + 80, 16);
	memcpy(x->min_job.b, h + 96, 16);
	memcpy(x->max_job.b, h + 112, 16);
	x->ids = (const struct hm_ulid *)(const void *)(h + l.s[S_IDS].off);
	x->offs = h + l.s[S_OFFS].off;
	x->states = h + l.s[S_STATES].off;
	x->recips = h + l.s[S_RECIPS].off;
	x->camps = h + l.s[S_CAMPS].off;
	x->posts = h + l.s[S_POSTS].off;
	x->job_ids = (const struct hm_ulid *)(const void *)(h + l.s[S_JOB_IDS].off);
	x->jobs = h + l.s[S_JOBS].off;
	x->names = h + l.s[S_NAMES].off;
	x->names_len = l.s[S_NAMES].len;
	return 0;
}

int hm_idx_open(const char *path, uint64_t seq, struct hm_idx **x_r, struct hm_err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;
	struct hm_idx *x;
	struct stat st;
	void *map;

	if (fd < 0)
		return hm_err_set(e, errno == ENOENT ? HM_ENOENT : HM_EIO, "cannot open %s: %s", path,
				  strerror(errno));
	if (fstat(fd, &st) < 0 || st.st_size < HEADER_BYTES) {
		close(fd);
		return hm_err_set(e, HM_ESTORE, "%s is not a whole index", path);
	}
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	rc = errno;
	close(fd);
	if (map == MAP_FAILED)
		return hm_err_set(e, HM_EIO, "cannot map %s: %s", path, strerror(rc));
	madvise(map, (size_t)st.st_size,
		MADV_RANDOM); /* look-ups touch a few pages; read-ahead would cost memory */
	x = calloc(1, sizeof(*x));
	if (x == NULL || hm_idx_parse(x, map, (size_t)st.st_size, seq) < 0) {
		rc = x ? HM_ESTORE : HM_ENOMEM;
		free(x);
		munmap(map, (size_t)st.st_size);
		return hm_err_set(e, rc, "%s is not a whole index", path);
	}
	x->map = map;
	x->size = (size_t)st.st_size;
	*x_r = x;
	return 0;
}

void hm_idx_free(struct hm_idx *x)
{
	union {
		const char *c;
		void *v;
	} map;

	if (x == NULL)
		return;
	HM_CHECK(x, HM_IDX_MAGIC);
	HM_MAGIC_CLEAR(x);
	map.c = x->map;
	munmap(map.v, x->size);
	free(x);
}

static uint32_t lower(const struct hm_ulid *ids, uint32_t n, const struct hm_ulid *id)
{
	uint32_t lo = 0, hi = n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (hm_ulid_cmp(&ids[mid], id) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

uint32_t hm_idx_lower(const struct hm_idx *x, const struct hm_ulid *id)
{
	return lower(x->ids, x->n, id);
}

int64_t hm_idx_find(const struct hm_idx *x, const struct hm_ulid *id)
{
	uint32_t i;
	bool any = false;

	if (x->n == 0 || hm_ulid_cmp(id, &x->min_msg) < 0 || hm_ulid_cmp(id, &x->max_msg) > 0)
		return -1;
	for (i = hm_idx_lower(x, id); i < x->n && hm_ulid_eq(&x->ids[i], id); i++)
		any = true;
	return any ? (int64_t)i - 1 : -1;
}

void hm_idx_recip_range(const struct hm_idx *x, uint32_t hash, uint32_t *lo_r, uint32_t *hi_r)
{
	uint32_t lo = 0, hi = x->n_recips;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (hm_le32(x->recips + 8 * (size_t)mid) < hash)
			lo = mid + 1;
		else
			hi = mid;
	}
	*lo_r = lo;
	/* Exponential then binary: most recipients have few messages in a segment, a test address has them all. */
	for (uint32_t step = 1; hi < x->n_recips && hm_le32(x->recips + 8 * (size_t)hi) == hash;) {
		uint32_t to = hi + step;

		if (to < x->n_recips && to > hi && hm_le32(x->recips + 8 * (size_t)to) == hash) {
			hi = to;
			step *= 2;
		} else if (step > 1) {
			step /= 2;
		} else {
			hi++;
			break;
		}
	}
	*hi_r = hi;
}

/* A rank out of a damaged file may be anything: hold it inside. */
static uint32_t hold(const struct hm_idx *x, uint32_t rank)
{
	return rank < x->n ? rank : x->n - 1;
}

uint32_t hm_idx_recip(const struct hm_idx *x, uint32_t pos)
{
	return hold(x, hm_le32(x->recips + 8 * (size_t)pos + 4));
}

uint32_t hm_idx_post(const struct hm_idx *x, uint32_t pos)
{
	return hold(x, hm_le32(x->posts + 4 * (size_t)pos));
}

void hm_idx_camp_range(const struct hm_idx *x, uint64_t hash, struct hm_str name, uint32_t *lo_r,
		       uint32_t *hi_r)
{
	uint32_t lo = 0, hi = x->n_camps;

	*lo_r = *hi_r = 0;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (hm_le64(x->camps + CAMP_BYTES * (size_t)mid) < hash)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < x->n_camps; lo++) {
		const char *c = x->camps + CAMP_BYTES * (size_t)lo;
		uint32_t off = hm_le32(c + 8), len = hm_le32(c + 12), first = hm_le32(c + 16),
			 count = hm_le32(c + 20);

		if (hm_le64(c) != hash)
			return;
		if (off > x->names_len || len > x->names_len - off || first > x->n || count > x->n - first)
			continue;
		if (hm_str_eq(hm_str_n(x->names + off, len), name)) {
			*lo_r = first;
			*hi_r = first + count;
			return;
		}
	}
}

/* Records of one job stand in the order they were written. */
static uint32_t behind(const struct hm_idx *x, uint32_t i, const struct hm_ulid *id)
{
	while (i < x->n_jobs && hm_ulid_eq(&x->job_ids[i], id))
		i++;
	return i;
}

void hm_idx_job_range(const struct hm_idx *x, const struct hm_ulid *id, uint32_t *lo_r, uint32_t *hi_r)
{
	*lo_r = *hi_r = 0;
	if (x->n_jobs == 0 || hm_ulid_cmp(id, &x->min_job) < 0 || hm_ulid_cmp(id, &x->max_job) > 0)
		return;
	*lo_r = lower(x->job_ids, x->n_jobs, id);
	*hi_r = behind(x, *lo_r, id);
}

struct hm_job_at hm_idx_job(const struct hm_idx *x, uint32_t pos)
{
	const char *p = x->jobs + JOB_BYTES * (size_t)pos;

	return (struct hm_job_at){hm_le32(p), hm_le32(p + 4), hm_le32(p + 8), hm_le32(p + 12)};
}

bool hm_idx_job_before(const struct hm_idx *x, const struct hm_ulid *id, struct hm_ulid *job_r)
{
	uint32_t i = lower(x->job_ids, x->n_jobs, id);

	if (i == x->n_jobs || !hm_ulid_eq(&x->job_ids[i], id)) {
		if (i == 0)
			return false;
		i--;
	}
	*job_r = x->job_ids[i];
	return true;
}
