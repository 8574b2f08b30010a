#include "verify.hpp"

#include <map>

#include "manifest.hpp"

namespace archive {

namespace fs = std::filesystem;

namespace {

void violation(Findings& findings, std::string sentence) {
    findings.violations.push_back(std::move(sentence));
}

std::string name(const FileResult& file) { return '"' + printable(file.path) + '"'; }

// Every file of the input once, and nothing else.
std::vector<FileResult> check_manifest(const Plan& plan, Findings& findings) {
    const Manifest manifest = manifest_from(read_file(fs::path(plan.tree.out) / "manifest.json"));
    std::map<std::string, int> seen;
    for (const FileResult& file : manifest.files) ++seen[file.path];
    for (const SourceFile& file : plan.tree.files) {
        const auto found = seen.find(file.path);
        const int times = found == seen.end() ? 0 : found->second;
        if (times != 1) {
            violation(findings, "\"" + printable(file.path) + "\" stands " + std::to_string(times) +
                                    " times in the manifest");
        }
        seen.erase(file.path);
    }
    for (const auto& [path, times] : seen) {
        violation(findings,
                  "\"" + printable(path) + "\" stands in the manifest, but was not there to be archived");
    }
    findings.files = manifest.files.size();
    return manifest.files;
}

// The object decompresses to the hash in the manifest, and the source, read again, has that hash.
void check_object(const Plan& plan, const FileResult& file, const SourceFile& source, Findings& findings) {
    const fs::path out = plan.tree.out;
    try {
        const fs::path object = out / object_name(file.sha256);
        const Content content = content_of_object(object);
        if (content.sha256 != file.sha256 || content.size != file.size) {
            return violation(findings, "the object of " + name(file) + " decompresses to something else");
        }
        ++findings.archived;
        findings.bytes += content.size;
        findings.object_bytes += static_cast<std::int64_t>(fs::file_size(object));
    } catch (const std::exception& error) {
        return violation(findings, "the object of " + name(file) + ": " + error.what());
    }
    try {
        const Stamp stamp{.size = source.size, .mtime_ns = source.mtime_ns};
        if (hash_source(fs::path(plan.tree.root) / file.path, stamp) != file.sha256) {
            return violation(findings, name(file) + " has another hash than the manifest says");
        }
        ++findings.rehashed;
    } catch (const SourceGone& gone) {
        findings.notes.push_back(name(file) + " is archived as it was; it has " + gone.state() + " since");
    }
}

void check_files(const Plan& plan, const std::vector<FileResult>& files, Findings& findings) {
    std::map<std::string, const SourceFile*> sources;
    for (const SourceFile& source : plan.tree.files) sources[source.path] = &source;
    for (const FileResult& file : files) {
        const auto source = sources.find(file.path);
        if (source == sources.end()) continue;  // told already
        if (file.state == "archived") {
            check_object(plan, file, *source->second, findings);
        } else {
            findings.notes.push_back(name(file) + " is not archived: " + file.state +
                                     (file.detail.empty() ? "" : " (" + printable(file.detail) + ')'));
        }
    }
}

// One finished workflow per file, with the result that the manifest shows. Fills in which execution recorded each step.
Recorded check_database(const Plan& plan, const std::vector<FileResult>& files, dbos::Client& client,
                        Findings& findings) {
    std::map<std::string, dbos::WorkflowStatus> rows;
    for (auto& row : client.list_workflows({.workflow_id_prefix = plan.key + '-', .load_input = false})) {
        rows[row.workflow_id] = std::move(row);
    }
    std::map<std::string, const FileResult*> results;
    for (const FileResult& file : files) results[file.path] = &file;

    for (const SourceFile& source : plan.tree.files) {
        const auto row = rows.find(source.workflow_id);
        const auto result = results.find(source.path);
        if (row == rows.end()) {
            violation(findings, "there is no workflow " + source.workflow_id + " for \"" +
                                    printable(source.path) + '"');
        } else if (result != results.end()) {
            const bool failed = result->second->state == "failed";
            const bool succeeded = row->second.status == dbos::Status::success;
            if (!dbos::is_terminal(row->second.status) || succeeded == failed) {
                violation(findings, "the workflow of " + name(*result->second) + " is " + row->second.status +
                                        ", and the manifest says " + result->second->state);
            } else if (!failed && row->second.output != dbos::to_value(*result->second)) {
                violation(findings, "the workflow of " + name(*result->second) +
                                        " has another result than the manifest");
            }
        }
    }

    Recorded recorded;
    for (const auto& [id, row] : rows) {
        if (row.status == dbos::Status::success || row.status == dbos::Status::error)
            recorded.finished.insert(id);
        for (const auto& step : client.list_workflow_steps(id)) {
            if (step.child_workflow_id || step.function_name.starts_with("DBOS.")) continue;
            const dbos::Value* ran_by = step.output ? step.output->find("ran_by") : nullptr;
            recorded.steps[{id, step.function_name}] =
                ran_by == nullptr ? std::string() : ran_by->as_string();
        }
    }
    return recorded;
}

void check_leftovers(const Plan& plan, Findings& findings) {
    for (const auto& entry : fs::directory_iterator(temporary_directory(plan.tree.out))) {
        violation(findings, "the temporary file " + entry.path().native() + " was left behind");
    }
}

}  // namespace

Findings verify(const Plan& plan, dbos::Client& client, const LogState& state) {
    Findings findings;
    const std::vector<FileResult> files = check_manifest(plan, findings);
    check_files(plan, files, findings);
    check_executions(state, check_database(plan, files, client, findings), findings);
    check_leftovers(plan, findings);
    return findings;
}

}  // namespace archive
