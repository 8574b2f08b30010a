// The functions of the system schema, for callers that speak SQL. Behaviour: docs/wire/schema.md, "Functions".
#include "sysdb/schema/ddl.hpp"

namespace dbos::sysdb::schema {
namespace {

constexpr std::string_view kParametersTo13 =
    "text, text, json[], json, text, text, text, text, bigint, bigint, text, integer, text";

constexpr std::string_view kEnqueueDeclarations = R"(
    workflow_name text,
    queue_name text,
    positional_args json[] DEFAULT ARRAY[]::json[],
    named_args json DEFAULT '{}'::json,
    class_name text DEFAULT NULL,
    config_name text DEFAULT NULL,
    workflow_id text DEFAULT NULL,
    app_version text DEFAULT NULL,
    timeout_ms bigint DEFAULT NULL,
    deadline_epoch_ms bigint DEFAULT NULL,
    deduplication_id text DEFAULT NULL,
    priority integer DEFAULT NULL,
    queue_partition_key text DEFAULT NULL,
    authenticated_user text DEFAULT NULL,
    authenticated_roles text DEFAULT NULL,
    delay_until_epoch_ms bigint DEFAULT NULL)";

constexpr std::string_view kEnqueueChecks = R"(
DECLARE
    id text;
    stamp bigint := (EXTRACT(epoch FROM now()) * 1000.0)::bigint;
    arguments text;
BEGIN
    IF coalesce(workflow_name, '') = '' THEN
        RAISE EXCEPTION 'Workflow name cannot be null or empty';
    END IF;
    IF coalesce(queue_name, '') = '' THEN
        RAISE EXCEPTION 'Queue name cannot be null or empty';
    END IF;
    IF named_args IS NOT NULL AND json_typeof(named_args) <> 'object' THEN
        RAISE EXCEPTION 'Named args must be a JSON object';
    END IF;
    IF workflow_id = '' THEN
        RAISE EXCEPTION 'Workflow ID cannot be an empty string if provided.';
    END IF;
    IF delay_until_epoch_ms < 0 THEN
        RAISE EXCEPTION 'delay_until_epoch_ms must be >= 0';
    END IF;
    id := coalesce(workflow_id, gen_random_uuid()::text);
    arguments := json_build_object('positionalArgs', positional_args, 'namedArgs', named_args)::text;
)";

constexpr std::string_view kEnqueueEnd = R"(
    RETURN id;
EXCEPTION WHEN unique_violation THEN
    RAISE EXCEPTION 'DBOS queue duplicated'
        USING ERRCODE = 'unique_violation',
              DETAIL = format('Workflow %s with queue %s and deduplication ID %s already exists',
                              id, queue_name, deduplication_id);
END;
)";

constexpr std::string_view kSendBody = R"(
BEGIN
    INSERT INTO @notifications
        (message_uuid, destination_uuid, topic, message, serialization)
    VALUES
        (coalesce(send_message.message_id, gen_random_uuid()::text), send_message.destination_id,
         coalesce(send_message.topic, '__null__topic__'), send_message.message::text, 'portable_json')
    ON CONFLICT (message_uuid) DO NOTHING;
EXCEPTION WHEN foreign_key_violation THEN
    RAISE EXCEPTION 'DBOS non-existent workflow'
        USING ERRCODE = 'foreign_key_violation',
              DETAIL = format('Destination workflow %s does not exist', send_message.destination_id);
END;
)";

constexpr std::string_view kNotifyBody = R"(
BEGIN
    PERFORM pg_notify('dbos_notifications_channel', NEW.destination_uuid || '::' || NEW.topic);
    RETURN NEW;
END;
)";

// The insert into workflow_status; `inputs` and `application_name` as the form has them.
std::string enqueue_insert(const Target& target, EnqueueForm form) {
    const bool named = form != EnqueueForm::base;
    const bool legacy = form != EnqueueForm::payloads;
    std::string columns =
        "workflow_uuid, status, name, queue_name, class_name, config_name, application_version,\n"
        "        workflow_timeout_ms, workflow_deadline_epoch_ms, deduplication_id, priority, "
        "queue_partition_key,\n"
        "        authenticated_user, authenticated_roles, delay_until_epoch_ms, created_at, updated_at,\n"
        "        recovery_attempts, owner_xid, parent_workflow_id, serialization";
    std::string values =
        "id, CASE WHEN delay_until_epoch_ms IS NULL THEN 'ENQUEUED' ELSE 'DELAYED' END, workflow_name, "
        "queue_name,\n"
        "        class_name, config_name, app_version, timeout_ms, deadline_epoch_ms, deduplication_id,\n"
        "        coalesce(priority, 0), queue_partition_key, authenticated_user, authenticated_roles,\n"
        "        delay_until_epoch_ms, stamp, stamp, 0, gen_random_uuid()::text, NULL, 'portable_json'";
    if (named) {
        columns += ", application_name";
        values += ", application_name";
    }
    if (legacy) {
        columns += ", inputs";
        values += ", arguments";
    }
    std::string out = "    INSERT INTO " + target.name("workflow_status") + "\n        (" + columns +
                      ")\n    VALUES\n        (" + values +
                      ")\n    ON CONFLICT (workflow_uuid) DO UPDATE SET updated_at = EXCLUDED.updated_at;\n";
    if (!legacy) {
        out += "    INSERT INTO " + target.name("workflow_input") +
               " (workflow_uuid, inputs, retention_timestamp)\n    VALUES (id, arguments, stamp)\n"
               "    ON CONFLICT (workflow_uuid) DO NOTHING;\n";
    }
    return out;
}

std::string function(const Target& target, std::string_view signature, std::string_view returns,
                     const std::string& body) {
    std::string out = "CREATE OR REPLACE FUNCTION " + target.name(signature) + "\nRETURNS " +
                      std::string(returns) + " LANGUAGE plpgsql\n";
    if (!target.cockroach) out += "SET search_path = pg_catalog, pg_temp\n";
    return out + "AS " + quote_literal(body);
}

}  // namespace

std::string enqueue_function(const Target& target, EnqueueForm form) {
    std::string signature = "enqueue_workflow(" + std::string(kEnqueueDeclarations);
    if (form != EnqueueForm::base) signature += ",\n    application_name text DEFAULT NULL";
    return function(target, signature + ")", "text",
                    std::string(kEnqueueChecks) + enqueue_insert(target, form) + std::string(kEnqueueEnd));
}

std::string drop_old_enqueue_functions(const Target& target, bool thirteen, bool sixteen) {
    const std::string drop =
        "DROP FUNCTION IF EXISTS " + target.name("enqueue_workflow") + "(" + std::string(kParametersTo13);
    return (thirteen ? drop + ");\n" : "") + (sixteen ? drop + ", text, text, bigint);\n" : "");
}

std::string send_function(const Target& target) {
    std::string body(kSendBody);
    constexpr std::string_view kPlace = "@notifications";
    body.replace(body.find(kPlace), kPlace.size(), target.name("notifications"));
    return function(target,
                    "send_message(destination_id text, message json, topic text DEFAULT NULL, message_id "
                    "text DEFAULT NULL)",
                    "void", body);
}

std::string drop_send_function(const Target& target) {
    return "DROP FUNCTION IF EXISTS " + target.name("send_message") + "(text, json, text, text)";
}

std::string notify_function(const Target& target) {
    return function(target, "notifications_function()", "trigger", std::string(kNotifyBody));
}

std::string notify_trigger(const Target& target) {
    return "CREATE TRIGGER dbos_notifications_trigger AFTER INSERT ON " + target.name("notifications") +
           "\nFOR EACH ROW EXECUTE FUNCTION " + target.name("notifications_function()");
}

}  // namespace dbos::sysdb::schema
