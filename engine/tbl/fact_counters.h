/* HM_FACT_COUNTER(NAME, metric, help) - kept per fact and shard, shown with the label fact (facts/stats.c) */
HM_FACT_COUNTER(HITS, "hermod_fact_hits_total", "Values that messages took from the cache")
HM_FACT_COUNTER(MISSES, "hermod_fact_misses_total", "Values that messages had to wait for")
HM_FACT_COUNTER(REQUESTS, "hermod_fact_requests_total", "Requests sent for values")
HM_FACT_COUNTER(ERRORS, "hermod_fact_errors_total", "Requests that failed, and values of the wrong type")
HM_FACT_COUNTER(FALLBACKS, "hermod_fact_fallbacks_total", "Values replaced by a fallback")
HM_FACT_COUNTER(UNANSWERED, "hermod_fact_unanswered_total", "Values neither to be had nor with a fallback: the message waits for another try")
HM_FACT_COUNTER(PAUSES, "hermod_fact_pauses_total", "Times the fact was left alone after failures in a row")
