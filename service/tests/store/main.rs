//! The laws of every store, and what each kind of store alone can get wrong.
//!
//! `laws` speaks of the trait; each backend runs the whole of it by one line of `laws!`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers as well")]

mod chance;
mod clock;
mod consume;
mod dead_letters;
mod differential;
mod exhaustive;
mod filters;
mod follow;
mod histories;
mod laws;
mod lineage;
mod log;
mod memory;
mod order;
mod pages;
mod postgres;
mod postgres_consume;
mod postgres_copies;
mod postgres_pages;
mod postgres_postings;
mod postgres_settings;
mod replay;
mod retention;
mod rounds;
mod spans;
mod sqlite;
mod sqlite_left;
mod support;

/// Runs every law on a backend, each on a store of its own.
#[macro_export]
macro_rules! laws {
    ($backend:ty) => {
        laws! { $backend:
            exhaustive::{
                every_order_of_a_life_ends_in_one_state,
            };
            laws::{
                each_delivery_gets_its_outcome,
                a_copy_is_answered_with_the_first_result,
                an_unparsed_body_is_known_by_its_request,
                what_was_confirmed_is_what_was_committed,
                positions_rise_in_commit_order,
                rounds_at_once_do_not_share_positions,
                who_follows_positions_misses_nothing,
                a_booking_reads_as_its_last_transition_left_it,
                no_change_leaves_the_visible_booking_alone,
                a_lineage_begins_where_nothing_precedes_however_late,
                hints_alone_are_kept_and_not_shown,
                the_timeline_tells_all_that_spoke_of_a_booking,
                a_timeline_shows_no_transition_of_another_booking,
                a_copy_is_told_to_every_booking_that_the_first_spoke_of,
                a_replayed_body_is_noted_a_bounded_number_of_times,
                a_delivery_reads_as_it_came,
                what_was_admitted_late_says_so,
                tenants_do_not_see_each_other,
                what_was_committed_is_there_when_opened_again,
                a_closed_store_takes_nothing,
            };
            rounds::{
                rounds_that_nobody_waits_for_end_as_one_by_one,
            };
            clock::{
                the_clock_completes_what_is_past_its_end,
                what_comes_after_its_end_is_completed_at_once,
                the_clock_speaks_before_a_webhook_that_comes_late,
                the_clock_and_a_delivery_stand_side_by_side_in_a_timeline,
                a_later_move_or_cancellation_simply_changes_it,
                only_what_was_accepted_is_completed,
                a_policy_that_goes_back_takes_its_word_back,
                the_clock_goes_through_every_tenant_in_bounded_rounds,
                what_the_clock_leaves_aside_stands_in_nobodys_way,
                lists_agree_with_what_the_clock_has_said,
                every_order_ends_alike_at_one_now,
            };
            consume::{
                a_consumer_is_made_once_and_changed_by_who_knows_it,
                a_tenant_has_no_more_consumers_than_it_may,
                a_turn_hands_out_in_order_and_settles,
                of_one_booking_one_entry_is_out_at_a_time,
                what_fails_climbs_the_ladder_to_the_dead_letters,
                a_lease_that_ended_is_fenced_off,
                what_is_sought_is_handed_out_again,
                a_paused_consumer_hears_and_hands_nothing_out,
                a_deleted_consumer_leaves_nothing,
                the_floor_is_the_least_cursor,
                a_consumer_goes_on_where_it_was_when_opened_again,
                a_consumer_gets_what_it_asked_for,
                a_long_log_is_scanned_turn_by_turn,
                a_time_is_found_in_the_log,
            };
            dead_letters::{
                dead_letters_are_replayed_and_deleted,
                a_dead_letter_holds_what_comes_later,
                a_dead_letter_that_is_out_again_by_a_seek_goes_out_once,
                a_dead_letter_holds_its_booking_where_it_is_to,
                a_dead_letter_outlives_the_log,
                what_was_purged_while_it_waited_holds_nothing_up,
                pages_of_consumers_and_dead_letters_skip_nothing,
                a_consumer_says_since_when_it_is_behind,
            };
            differential::{
                whatever_it_is_told_it_answers_as_the_model,
            };
            filters::{
                a_filter_lists_what_it_says_in_each_order,
                a_booking_is_found_by_what_it_has_and_not_by_what_it_had,
                a_page_that_passes_many_by_comes_early_and_short,
            };
            histories::{
                the_log_never_jumps_and_says_what_is_read,
            };
            lineage::{
                a_chain_of_any_length_is_one_lineage,
                a_lost_middle_is_joined_by_the_ical_uid_and_marked,
                of_several_successors_the_older_comes_first,
                a_lineage_is_known_by_a_booking_that_is_not,
                two_that_replace_each_other_end_the_walk,
                seats_join_nothing,
                a_chain_leads_through_a_booking_that_is_not_shown,
                a_lineage_of_large_bookings_comes_in_pages,
                a_lineage_is_bounded,
            };
            log::{
                the_log_tells_each_transition_once_in_order,
                recorded_deliveries_stand_in_the_log_where_asked_for,
                a_filter_of_the_log_means_what_it_says,
                pages_of_the_log_skip_nothing,
                the_log_says_up_to_where_it_is_purged,
            };
            replay::{
                what_was_unparsed_becomes_a_booking,
                a_replay_that_says_nothing_new_leaves_no_line,
                a_replay_leaves_the_clock_to_speak_for_itself,
                a_quiet_replay_still_reads_what_is_said_of_a_series,
                what_was_recorded_is_kept_under_another_booking,
                what_names_no_booking_any_more_keeps_its_line,
                a_replay_is_merged_by_its_own_time,
                a_foreign_delivery_is_not_replayed,
                the_journal_and_the_rows_are_read_whole_and_in_order,
            };
            retention::{
                what_is_past_its_retention_goes_and_no_more,
                a_line_stays_as_long_as_its_delivery_or_its_transition,
                a_purge_comes_in_bounded_chunks_that_a_crash_may_part,
                rounds_are_committed_while_a_purge_runs,
                tenants_are_purged_apart,
                a_late_copy_of_a_purged_delivery_is_no_change,
                transitions_wait_for_their_readers,
                deliveries_wait_for_who_reads_them,
                the_journal_goes_on_behind_what_was_purged,
                a_row_knows_before_which_delivery_nothing_spoke_of_it,
            };
            pages::{
                pages_of_bookings_skip_nothing,
                large_bookings_make_short_pages,
                bookings_of_any_size_are_listed_once,
                what_large_bookings_went_through_is_told_whole,
                pages_of_a_timeline_skip_nothing,
                pages_of_deliveries_skip_nothing,
            };
        }
    };
    ($backend:ty: $($module:ident::{$($law:ident),* $(,)?});* $(;)?) => {
        $($(
            #[tokio::test]
            async fn $law() {
                $crate::$module::$law(&<$backend>::default()).await;
            }
        )*)*
    };
}
