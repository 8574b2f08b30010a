// Steps of the migration on PostgreSQL that look at the database before they act.
#pragma once

#include "sysdb/schema/internal.hpp"

namespace dbos::sysdb::schema {

/// Whether an error means that another process is changing the schema at this moment.
bool is_collision(const DatabaseError& error) noexcept;

/// Drops what an interrupted CREATE INDEX CONCURRENTLY left behind on the tables of the catalog.
void drop_invalid_indexes(Job& job);
/// Builds an index CONCURRENTLY unless it is there; an existing one of that name with other columns, uniqueness or predicate
/// is replaced. Outside of a transaction.
void reconcile_index(Job& job, const Index& index);
/// Brings a database of version 1 to 99 of any lineage, or a damaged one, to what all SDKs share at version 99
/// (system-database: tables, columns, keys, indexes, functions). The recorded version becomes at least 99.
void reconcile_postgres(Job& job);
/// One shared migration; idempotent. `payload_functions`: enqueue_workflow may already write the payload tables, so its
/// older form is not put back.
void apply_postgres(Job& job, int version, bool payload_functions);
/// Gives tables made by us the rights that workflow_status grants, and `application_role` everything.
void grant_rights(Job& job);

}  // namespace dbos::sysdb::schema
