/* HM_SETTING(id, name): what <#setting name=value> may change */
HM_SETTING(NUMBER_FORMAT, "number_format")
HM_SETTING(BOOLEAN_FORMAT, "boolean_format")
HM_SETTING(DATE_FORMAT, "date_format")
HM_SETTING(TIME_FORMAT, "time_format")
HM_SETTING(DATETIME_FORMAT, "datetime_format")
HM_SETTING(TIME_ZONE, "time_zone")
HM_SETTING(LOCALE, "locale")
