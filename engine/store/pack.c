/*
 * pack.c - compress a segment, read its blocks
 */
#include <errno.h>
#include <fcntl.h>
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/pack.h"
#include "store/record.h"
#include "store/seg.h"

#define PACK_MAGIC 0x314b4c48u /* "HLK1" */

static int pwrite_all(int fd, const char *p, size_t n, uint64_t off)
{
	while (n) {
		ssize_t w = pwrite(fd, p, n, (off_t)off);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return -1;
		p += w;
		off += (uint64_t)w;
		n -= (size_t)w;
	}
	return 0;
}

static uint32_t block_sum(const char *p, size_t n)
{
	return (uint32_t)hm_hash64(p, n, PACK_MAGIC);
}

static int compress_blocks(int in, int out, uint64_t raw_len, uint32_t n_blocks, char *table,
			   const bool *stop, uint64_t *size_r)
{
	char *raw = malloc(HM_PACK_BLOCK), *small = malloc(HM_PACK_BLOCK);
	uint64_t at = HM_PACK_HEAD + (uint64_t)n_blocks * HM_PACK_ENTRY + 8;
	int rc = raw && small ? 0 : HM_ENOMEM;

	for (uint32_t b = 0; rc == 0 && b < n_blocks; b++) {
		uint64_t off = (uint64_t)b * HM_PACK_BLOCK;
		size_t n = (size_t)hm_min((uint64_t)HM_PACK_BLOCK, raw_len - off);
		char *t = table + (size_t)b * HM_PACK_ENTRY;
		int len;

		if (stop && __atomic_load_n(stop, __ATOMIC_RELAXED))
			rc = HM_ECANCELLED;
		else
			rc = hm_pread_all(in, raw, n, off);
		if (rc < 0)
			break;
		len = LZ4_compress_default(raw, small, (int)n, (int)n - 1);
		hm_le64_put(t, at);
		hm_le32_put(t + 8, len > 0 ? (uint32_t)len : (uint32_t)n);
		hm_le32_put(t + 12, block_sum(raw, n));
		if (pwrite_all(out, len > 0 ? small : raw, len > 0 ? (size_t)len : n, at) < 0)
			rc = HM_EIO;
		at += len > 0 ? (uint64_t)len : n;
	}
	*size_r = at;
	free(raw);
	free(small);
	return rc;
}

int hm_pack_build(const char *log_path, const char *pack_path, uint64_t seq, const bool *stop,
		  uint64_t *size_r, struct hm_err *e)
{
	char tmp[HM_SEG_PATH + 8], *head = NULL;
	int in = -1, out = -1, rc = HM_EIO;
	size_t head_len;
	uint32_t n_blocks;
	struct stat st;

	snprintf(tmp, sizeof(tmp), "%s.tmp", pack_path);
	in = open(log_path, O_RDONLY | O_CLOEXEC);
	if (in < 0 || fstat(in, &st) < 0) {
		rc = hm_err_set(e, errno == ENOENT ? HM_ENOENT : HM_EIO, "cannot read %s: %s", log_path,
				strerror(errno));
		goto out;
	}
	n_blocks = (uint32_t)(((uint64_t)st.st_size + HM_PACK_BLOCK - 1) / HM_PACK_BLOCK);
	head_len = HM_PACK_HEAD + (size_t)n_blocks * HM_PACK_ENTRY + 8;
	head = calloc(1, head_len);
	out = open(tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (head == NULL || out < 0) {
		rc = hm_err_set(e, head ? HM_EIO : HM_ENOMEM, "cannot write %s: %s", tmp, strerror(errno));
		goto out;
	}
	rc = compress_blocks(in, out, (uint64_t)st.st_size, n_blocks, head + HM_PACK_HEAD, stop, size_r);
	hm_le32_put(head, PACK_MAGIC);
	hm_le32_put(head + 4, 1);
	hm_le64_put(head + 8, seq);
	hm_le64_put(head + 16, (uint64_t)st.st_size);
	hm_le32_put(head + 24, HM_PACK_BLOCK);
	hm_le32_put(head + 28, n_blocks);
	hm_le64_put(head + 32, hm_hash64(head, 32, PACK_MAGIC));
	hm_le64_put(head + head_len - 8,
		    hm_hash64(head + HM_PACK_HEAD, head_len - 8 - HM_PACK_HEAD, PACK_MAGIC));
	if (rc == 0 &&
	    (pwrite_all(out, head, head_len, 0) < 0 || fdatasync(out) < 0 || rename(tmp, pack_path) < 0))
		rc = HM_EIO;
	if (rc < 0)
		hm_err_set(e, rc, "cannot compress %s: %s", log_path,
			   rc == HM_EIO ? strerror(errno) : hm_err_name(rc));
out:
	if (rc < 0 && out >= 0)
		unlink(tmp);
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	free(head);
	return rc;
}

int hm_pack_info(int fd, struct hm_pack_info *i)
{
	char h[HM_PACK_HEAD];
	int rc = hm_pread_all(fd, h, sizeof(h), 0);

	if (rc < 0)
		return rc;
	if (hm_le32(h) != PACK_MAGIC || hm_le32(h + 4) != 1 || hm_le32(h + 24) != HM_PACK_BLOCK ||
	    hm_le64(h + 32) != hm_hash64(h, 32, PACK_MAGIC))
		return HM_ESTORE;
	i->seq = hm_le64(h + 8);
	i->raw_len = hm_le64(h + 16);
	i->n_blocks = hm_le32(h + 28);
	return i->n_blocks == (i->raw_len + HM_PACK_BLOCK - 1) / HM_PACK_BLOCK ? 0 : HM_ESTORE;
}

int hm_pack_block(int fd, const struct hm_pack_info *i, uint32_t b, char *out, size_t *len_r)
{
	size_t n = (size_t)hm_min((uint64_t)HM_PACK_BLOCK, i->raw_len - (uint64_t)b * HM_PACK_BLOCK);
	char t[HM_PACK_ENTRY], *small;
	uint32_t len;
	int rc;

	hm_assert(b < i->n_blocks);
	rc = hm_pread_all(fd, t, sizeof(t), HM_PACK_HEAD + (uint64_t)b * HM_PACK_ENTRY);
	if (rc < 0)
		return rc;
	len = hm_le32(t + 8);
	if (len > n)
		return HM_ESTORE;
	if (len == n) {
		rc = hm_pread_all(fd, out, n, hm_le64(t));
	} else {
		small = malloc((size_t)len + 1);
		if (small == NULL)
			return HM_ENOMEM;
		rc = hm_pread_all(fd, small, len, hm_le64(t));
		if (rc == 0 && LZ4_decompress_safe(small, out, (int)len, HM_PACK_BLOCK) != (int)n)
			rc = HM_ESTORE;
		free(small);
	}
	if (rc == 0 && block_sum(out, n) != hm_le32(t + 12))
		rc = HM_ESTORE;
	*len_r = n;
	return rc;
}
