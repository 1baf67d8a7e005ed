/** Functions of the systems themselves that write nothing that counts: whatever else a statement calls, only the database knows. */
const HARMLESS = new Set(
  `abs age array_agg array_append array_length array_position array_remove array_to_string arrayagg avg bit_length bool_and bool_or
  btrim cardinality cast ceil ceiling char char_length character_length coalesce concat concat_ws convert count curdate
  current_date current_schema current_setting current_time current_timestamp currval curtime date date_add date_format date_part
  date_sub date_trunc datediff day decode dense_rank elt encode every exp extract field find_in_set first_value floor format
  format_type gen_random_uuid generate_series get_lock greatest group_concat hex hour if ifnull initcap instr jsonb_agg
  json_agg json_array json_arrayagg json_array_length json_build_array json_build_object json_contains json_each json_extract
  json_insert json_keys json_length json_merge_patch json_object json_objectagg json_object_agg json_quote json_remove
  json_replace json_set json_type json_unquote json_valid jsonb_array_elements jsonb_array_length jsonb_build_array
  jsonb_build_object jsonb_each jsonb_each_text jsonb_object_agg jsonb_object_keys jsonb_set jsonb_strip_nulls jsonb_typeof lag
  last_insert_id last_value lastval lcase lead least left length lower lpad ltrim make_date make_interval max md5 mid min minute mod month
  nextval now ntile nullif octet_length overlay pg_advisory_lock pg_advisory_unlock pg_advisory_xact_lock pg_get_serial_sequence
  pg_sleep position pow power quote_ident quote_literal quote_nullable rand random rank regexp_match regexp_matches regexp_replace regexp_substr
  release_lock repeat replace reverse right round row_number row_count row_to_json rpad rtrim second set_config setval sha1 sha2 sign
  sleep split_part sqrt starts_with str_to_date string_agg string_to_array strpos substr substring substring_index sum
  sysdate time timestampadd timestampdiff timezone to_char to_date to_json to_jsonb to_number to_timestamp to_tsvector translate
  trim trunc truncate ucase unhex unix_timestamp unnest upper utc_timestamp uuid uuid_generate_v4 version week year from_unixtime
  from_days to_days last_day any_value bit_and bit_or var_pop variance stddev isnull strcmp ascii ord chr`.split(/\s+/),
)

/** Whether calling it is known to destroy nothing. `name`: without its schema. */
export function isHarmlessCall(name: string): boolean {
  return HARMLESS.has(name.toLowerCase())
}

/** For people: why a statement that calls this cannot be read ahead. */
export function calls(name: string): string {
  return `it calls ${name}(), and what that does only the database knows`
}
