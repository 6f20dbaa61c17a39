/*
 * metrics.h - all counters and histograms as Prometheus text
 *
 * Rows come from tbl/counters.h and tbl/histograms.h by themselves, with their help
 * texts; besides them hermod_build_info and the usual process_* numbers.
 * Histograms are kept in microseconds and shown in seconds.
 *
 * Threads: any; numbers of other threads are read while they change, each by itself
 * consistent. Source: prometheus.io, exposition formats, text format 0.0.4.
 */
#ifndef HM_ADMIN_METRICS_H
#define HM_ADMIN_METRICS_H

#include "base/buf.h"

void hm_metrics_write(struct hm_buf *out);

#endif
