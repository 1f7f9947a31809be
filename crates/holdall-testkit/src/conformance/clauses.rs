//! The table of all clauses: the one place that names them, for the tests and for the report.

/// Hands the list of chapters, clauses and their functions to another macro of this crate.
#[doc(hidden)]
#[macro_export]
macro_rules! __each_clause {
    ($then:ident) => {
        $crate::$then! {
            keys {
                K1 come_back_exactly,
                K2 stay_apart,
                K3 one_may_continue_another,
                K4 ordinary_keys_are_taken,
            }
            get {
                G1 missing_is_none,
                G2 returns_value_size_and_revision,
                G3 range_is_clipped,
                G4 range_past_the_end_is_empty,
                G5 range_backwards_is_invalid,
                G6 range_of_missing_is_none,
                G7 reading_changes_nothing,
            }
            get_many {
                M1 one_place_for_each_key,
                M2 key_asked_twice_is_answered_twice,
                M3 nothing_asked_is_nothing,
                M4 agrees_with_get,
            }
            put {
                P1 later_reads_see_it,
                P2 replaces_whole,
                P3 empty_value_is_a_value,
                P4 bytes_are_not_touched,
                P5 different_values_have_different_revisions,
                P6 equal_bytes_are_current,
                P7 neighbours_are_untouched,
            }
            expect {
                E1 absent_creates_once,
                E2 absent_after_delete,
                E3 current_revision_is_taken,
                E4 stale_revision_conflicts,
                E5 revision_of_missing_conflicts,
                E6 foreign_revision_conflicts,
                E7 delete_of_current_revision,
                E8 delete_of_stale_revision_conflicts,
                E9 delete_expecting_absent,
            }
            delete {
                D1 removes,
                D2 missing_is_ok,
                D3 neighbours_are_untouched,
                D4 key_can_be_written_again,
            }
            list {
                L1 ascending_by_bytes,
                L2 prefix_selects,
                L3 prefix_is_literal,
                L4 start_is_inclusive_or_exclusive,
                L5 start_need_not_exist,
                L6 start_and_prefix_meet,
                L7 limit_is_kept,
                L8 pages_are_complete,
                L9 nothing_is_an_empty_page,
                L10 limit_zero_is_invalid,
                L11 values_only_when_asked,
                L12 pages_are_stable,
                L13 follows_writes,
            }
            apply {
                A1 all_happen,
                A2 none_happen_on_conflict,
                A3 conflict_names_the_first_key,
                A4 key_twice_is_invalid,
                A5 check_guards_and_changes_nothing,
                A6 empty_is_ok,
                A7 rows_get_the_returned_revision,
                A8 revisions_are_checked,
                A9 deletes_missing_keys,
            }
            find {
                N1 filter_selects,
                N2 descriptions_follow_their_rows,
                N3 pages_are_complete,
                N4 text_is_literal,
            }
            limits {
                B1 profile_agrees_with_itself,
                B2 value_at_the_limit,
                B3 value_over_the_limit,
                B4 key_at_the_limit,
                B5 key_over_the_limit,
                B6 batch_at_the_step_limit,
                B7 batch_over_the_step_limit,
                B8 batch_over_the_byte_limit,
            }
            durability {
                S1 writes_survive_reopening,
                S2 revisions_survive_reopening,
                S3 revisions_go_on_after_reopening,
            }
            errors {
                F1 conflict_says_where,
                F2 messages_are_one_sentence,
                F3 messages_do_not_show_values,
            }
            races {
                R1 one_creator_wins,
                R2 no_update_is_lost,
                R3 one_deleter_wins,
                R4 values_are_seen_whole,
                R5 batches_are_seen_whole,
                R6 no_batch_is_lost,
                R7 one_of_two_crossing_batches_wins,
            }
            cancellation {
                C1 put_is_whole_or_not_at_all,
                C2 batch_is_whole_or_not_at_all,
                C3 create_can_be_asked_again,
                C4 dropped_reads_have_no_effect,
                C5 backend_serves_on,
            }
            health {
                H1 answers_while_serving,
                H2 profile_does_not_change,
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __clause_table {
    ($($chapter:ident { $($id:ident $name:ident,)* })*) => {
        /// Every clause of the contract, in the order of `docs/contract.md`.
        pub static CLAUSES: &[Clause] = &[$($(
            Clause {
                id: stringify!($id),
                name: concat!(stringify!($chapter), "::", stringify!($name)),
                check: |harness| Box::pin($chapter::$name(harness)),
            },
        )*)*];
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __clause_tests {
    ($($chapter:ident { $($id:ident $name:ident,)* })*) => {
        $(mod $chapter {
            $(
                #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let fixture = super::conformance_fixture().await;
                    $crate::conformance::hold(stringify!($id), fixture, ::holdall_runtime::env())
                        .await;
                }
            )*
        })*
    };
}

/// Makes one test for each clause of the contract.
///
/// The argument is an expression that makes a [`Fixture`](crate::conformance::Fixture); it is
/// evaluated inside an `async fn`, once for each test. The using crate needs `tokio` (with
/// `rt-multi-thread` and
/// `macros`) and `holdall-runtime` among its dev-dependencies. Several in one file go into one
/// module each.
#[macro_export]
macro_rules! conformance {
    ($fixture:expr $(,)?) => {
        async fn conformance_fixture() -> impl $crate::conformance::Fixture {
            $fixture
        }
        $crate::__each_clause!(__clause_tests);
    };
}
