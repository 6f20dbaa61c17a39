/* HM_LANE(NAME, text, default weight (0 = never waits: strict priority)) */
HM_LANE(CRITICAL, "critical", 0)
HM_LANE(HIGH, "high", 8)
HM_LANE(NORMAL, "normal", 4)
HM_LANE(BULK, "bulk", 1)
