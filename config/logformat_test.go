package config

import "testing"

func TestMistakesOfTheAccessLog(t *testing.T) {
	for _, e := range []example{
		{
			"variable with a slip",
			"[access_log]\npath = \"stdout\"\nformat = '$method $stauts'",
			`config.toml:3: access_log.format: variable "$stauts" is not known; did you mean "$status"?`,
		},
		{
			"word with a slip",
			"[access_log]\nformat = \"combine\"",
			`config.toml:2: access_log.format: "combine" has no variable; want json, combined or a line such as "$client $method $path $status $flag"; did you mean "combined"?`,
		},
		{
			"path that was meant to be a word",
			"[access_log]\npath = \"sdterr\"",
			`config.toml:2: access_log.path: "sdterr" is neither stdout nor stderr; write a file's whole path, such as "/var/log/sidecar/sdterr"; did you mean "stderr"?`,
		},
		{
			"key with a slip",
			"[access_log]\nformt = \"json\"",
			`config.toml:2: access_log.formt: unknown key; did you mean "format"?`,
		},
	} {
		e.test(t)
	}
}

func TestTheAccessLogFromTheEnvironment(t *testing.T) {
	cfg := load(t, "[access_log]\npath = \"stderr\"", "SIDECAR_ACCESS_LOG_PATH=stdout", "SIDECAR_ACCESS_LOG_FORMAT=$client_ip $status")
	if want := (AccessLog{Path: AccessLogStdout, Format: "$client_ip $status", Buffer: 1 << 20}); cfg.AccessLog != want {
		t.Errorf("%+v", cfg.AccessLog)
	}
}

func TestTheVariablesOfAFormatCannotBeChangedByACaller(t *testing.T) {
	AccessLogVariables()[0] = "other"
	if AccessLogVariables()[0] != "time" {
		t.Error("they were")
	}
}
