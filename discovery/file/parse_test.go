package file

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sidecar/discovery"
)

func inst(id, address string, weight int, zone string, meta ...string) discovery.Instance {
	i := discovery.Instance{ID: id, Address: address, Weight: weight, Zone: zone}
	for m := range slices.Chunk(meta, 2) {
		if i.Meta == nil {
			i.Meta = map[string]string{}
		}
		i.Meta[m[0]] = m[1]
	}
	return i
}

// said is what an update without error says.
func said(u discovery.Update) []any {
	return []any{u.Instances, u.Unknown, u.Stored, u.Index, u.States, u.Problems, u.At}
}

func TestWhatAFileMayHold(t *testing.T) {
	const a, b = "10.0.0.1:8080", "10.0.0.2:8080"
	both := []discovery.Instance{inst(a, a, 1, ""), inst(b, b, 2, "z")}
	full := []discovery.Instance{inst("x", "[fd00::1]:80", 3, "b", "on", "true", "v", "2", "w", "1.5")}
	for text, want := range map[string][]discovery.Instance{
		`json ["10.0.0.2:8080 weight=2 zone=z", "10.0.0.1:8080"]`:                           both,
		`json {"orders": ["10.0.0.1:8080","10.0.0.2:8080 weight=2 zone=z"], "stock": 3}`:    both,
		`json {"instances": ["10.0.0.1:8080","10.0.0.2:8080 weight=2 zone=z"]}`:             both,
		`json {"orders": ["10.0.0.1:8080"], "instances": ["10.0.0.2:8080"]}`:                both[:1],
		`json ["10.0.0.1:8080",{"address":"10.0.0.2:8080","weight":2,"zone":"z"}]`:          both,
		`json [{"targets":["10.0.0.1:8080"],"labels":{}},{"targets":["unix:/run/a.sock"]}]`: {both[0], inst("unix:/run/a.sock", "unix:/run/a.sock", 1, "")},
		`json [{"targets":["10.0.0.1:80","10.0.0.1:81"],"labels":{"zone":"c","weight":"7"}}]`: {
			inst("10.0.0.1:80", "10.0.0.1:80", 7, "c", "zone", "c", "weight", "7"),
			inst("10.0.0.1:81", "10.0.0.1:81", 7, "c", "zone", "c", "weight", "7")},
		`json [{"id":"x","address":"fd00::1","port":80,"weight":3,"zone":"b","meta":{"v":"2","w":1.5,"on":true}}]`: full,
		`json [{"address":"db.internal","port":5432}]`:                                                             {inst("db.internal:5432", "db.internal:5432", 1, "")},
		"json \xef\xbb\xbf[]": nil,
		`json {"orders": []}`: nil,
		`toml instances = ["10.0.0.1:8080", "10.0.0.2:8080 weight=2 zone=z"]`: both,
		`toml instances = []`: nil,
		`toml orders = ["10.0.0.1:8080", {address="10.0.0.2:8080", weight=2, zone="z"}]`:                                 both,
		"toml stock = 1\n[[orders]]\naddress='" + a + "'\n[[orders]]\naddress='10.0.0.2'\nport=8080\nweight=2\nzone='z'": both,
		"toml [[instances]]\nid='x'\naddress='fd00::1'\nport=80\nweight=3\nzone='b'\nmeta={v='2',w=1.5,on=true}":         full,
		"TOML orders = []": nil,
	} {
		ext, data, _ := strings.Cut(text, " ")
		u, err := parse("."+ext, []byte(data), "orders")
		if err != nil || u.Unknown || len(u.Problems) > 0 || len(u.Instances) != len(want) || len(want) > 0 && !reflect.DeepEqual(u.Instances, want) {
			t.Errorf("%s\n is %+v, %v", text, u, err)
		}
	}
}

func TestAServiceThatIsNotInTheFileIsUnknown(t *testing.T) {
	for ext, text := range map[string]string{".json": `{"stock": ["10.0.0.1:80"]}`, ".toml": `stock = []`} {
		if u, err := parse(ext, []byte(text), "orders"); err != nil || !u.Unknown || u.Instances != nil {
			t.Errorf("%s: %+v, %v", text, u, err)
		}
	}
	if u, err := parse(".json", []byte("{}"), "orders"); err != nil || !u.Unknown {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestAFileThatCannotBeUsedIsAnError(t *testing.T) {
	deep := strings.Repeat("[", 1<<20)
	for text, want := range map[string]string{
		"json ":                         "it is empty, as a file is that somebody has begun to write",
		"json  \n\t ":                   "it is empty",
		"toml ":                         "it is empty",
		"toml # soon\n":                 "it is empty",
		"yaml - a":                      `its name ends in ".yaml"; rename it to .json or .toml`,
		"json [\n \"10.0.0.1:80\",\n ]": "line 3, column 2: invalid character ']' looking for beginning of value; correct it",
		"json x":                        "line 1, column 1: invalid character 'x'",
		"json [\"10.0.0.1:80\"":         "line 1, column 14: unexpected end of JSON input",
		"json [] []":                    "line 1, column 4: invalid character '[' after top-level value",
		"json {\"orders\": [],\n \"orders\": [\"10.0.0.1:80\"]}": `line 2, column 2: the key "orders" is there twice; correct it`,
		"json " + deep:                      "exceeded max depth",
		"json 3":                            "it holds a number; write a list of instances",
		"json null":                         "it holds null; write a list",
		`json {"orders": "10.0.0.1:80"}`:    `"orders" is a string; write a list of instances`,
		`json {"orders": null}`:             `"orders" is null`,
		`json {"orders": {"address": "x"}}`: `"orders" is a table`,
		"toml orders = [\n'10.0.0.1:80'\n":  "line 2, column ",
		"toml a = 1\na = 2":                 "line 2, column 1: toml: ",
		"toml orders = 1979-05-27":          `"orders" is a date or time`,
		"toml a = " + deep:                  "nested more than",
		`json ["x"]`:                        `none of its 1 entries can be used: entry 1: instance "x": no port; write x:PORT; correct them, or write an empty list`,
		`json ["10.0.0.1:0", 3, {}]`:        "none of its 3 entries can be used: entry 1: ",
	} {
		ext, data, _ := strings.Cut(text, " ")
		u, err := parse("."+ext, []byte(data), "orders")
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 500 || !reflect.DeepEqual(said(u), said(discovery.Update{})) {
			t.Errorf("%.60q: %+v, %.600v, want %q", text, u, err, want)
		}
	}
}

func TestAnEntryThatCannotBeUsedIsAProblem(t *testing.T) {
	const good = `"10.9.9.9:99"`
	for entry, want := range map[string]string{
		`"10.0.0.1:0"`:                           `entry 2: instance "10.0.0.1:0": port "0" is not a number from 1 to 65535`,
		`""`:                                     `entry 2: instance "": no address`,
		`"10.0.0.1:80 wieght=2"`:                 `unknown setting "wieght=2"`,
		`"` + strings.Repeat("x", 2000) + `:80"`: `xxx" is longer than 1024 bytes`,
		`7`:                                      `entry 2: it is a number; write "host:port" or a table with an address`,
		`null`:                                   `it is null`,
		`["10.0.0.1:80"]`:                        `it is a list`,
		`{}`:                                     `it has no address; write one such as`,
		`{"address": 7}`:                         `address is a number; write a string`,
		`{"address": ""}`:                        `address is empty; leave it out or fill it in`,
		`{"address": "10.0.0.1"}`:                `no port; write 10.0.0.1:PORT`,
		`{"address": "10.0.0.1:80 weight=2"}`:    `address "10.0.0.1:80 weight=2" has to be one word`,
		`{"address": "10.0.0.1", "port": 0}`:     `port is "0", and not a number from 1 to 65535`,
		`{"address": "10.0.0.1", "port": 80.5}`:  `port is "80.5", and not a number`,
		`{"address": "10.0.0.1", "port": "80"}`:  `port is "80", and not a number`,
		`{"address": "10.0.0.1:80", "port": 80}`: `address "10.0.0.1:80", port 80: "10.0.0.1:80" is neither an IP address nor a host name`,
		`{"address": "10.0.0.1:80", "weight": 65536}`:            `weight is "65536", and not a number from 1 to 65535`,
		`{"address": "10.0.0.1:80", "weight": 1e400}`:            `weight is "1e400"`,
		`{"address": "10.0.0.1:80", "zone": ["a"]}`:              `zone is a list; write a string`,
		`{"address": "10.0.0.1:80", "meta": "a"}`:                `meta is a string; write a table`,
		`{"address": "10.0.0.1:80", "meta": {"a": null}}`:        `meta."a" is null; write a string`,
		`{"address": "10.0.0.1:80", "id": "10.9.9.9:99"}`:        `entry 2: an instance "10.9.9.9:99" is there already and stands; give this one an id of its own`,
		`{"address": "10.9.9.9:99", "id": "b"}`:                  `entry 2: an instance with the address "10.9.9.9:99" is there already and stands`,
		`"10.9.9.9:99 weight=3"`:                                 `an instance "10.9.9.9:99" is there already`,
		`{"targets": "10.0.0.1:80"}`:                             `targets is a string; write a list of addresses`,
		`{"targets": [1]}`:                                       `one of targets is a number; write an address`,
		`{"targets": ["10.0.0.1"]}`:                              `no port; write 10.0.0.1:PORT`,
		`{"targets": ["10.0.0.1:80"], "labels": []}`:             `labels is a list; write a table`,
		`{"targets": ["10.0.0.1:80"], "labels": {"weight":"a"}}`: `the label weight is "a", and not a number from 1 to 65535`,
	} {
		u, err := parse(".json", []byte("["+good+","+entry+"]"), "orders")
		if err != nil || len(u.Instances) != 1 || u.Instances[0].ID != "10.9.9.9:99" || u.Instances[0].Weight != 1 {
			t.Errorf("%.60s: the rest does not stand: %+v, %v", entry, u, err)
			continue
		}
		if len(u.Problems) != 1 || !strings.HasPrefix(u.Problems[0], "entry 2: ") || !strings.Contains(u.Problems[0], want) || len(u.Problems[0]) > 300 {
			t.Errorf("%.60s: %q, want %q", entry, u.Problems, want)
		}
	}
}

func TestAnUnknownKeyIsAProblemAndNoReasonToDoWithoutTheInstance(t *testing.T) {
	u, err := parse(".json", []byte(`[{"address":"10.0.0.1:80","wieght":5,"Zone":"b"},{"targets":["10.0.0.2:80"],"label":{}}]`), "orders")
	want := []string{
		`entry 1: the key "Zone" is not known and passed over; known are address, port, id, weight, zone, meta`,
		`entry 1: the key "wieght" is not known and passed over; known are address, port, id, weight, zone, meta`,
		`entry 2: the key "label" is not known and passed over; known are targets and labels`,
	}
	if err != nil || len(u.Instances) != 2 || !reflect.DeepEqual(u.Problems, want) {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestProblemsAreBoundedAndTheSameEachTime(t *testing.T) {
	entries := []string{`"10.0.0.1:80"`}
	for i := range 1000 {
		entries = append(entries, fmt.Sprintf(`{"a%d": 1, "b": 2, "address": "10.0.0.1:0"}`, i))
	}
	data := []byte("[" + strings.Join(entries, ",") + "]")
	first, err := parse(".json", data, "orders")
	if err != nil || len(first.Problems) != maxProblems+1 || first.Problems[maxProblems] != "more: 2900 problems like these" {
		t.Fatalf("%d problems, the last %q, %v", len(first.Problems), first.Problems[len(first.Problems)-1], err)
	}
	if !slices.IsSorted(first.Problems) {
		t.Error("they are not sorted")
	}
	for range 10 {
		if again, err := parse(".json", data, "orders"); err != nil || !reflect.DeepEqual(said(again), said(first)) {
			t.Fatal("the next reading says something else")
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		`["10.0.0.1:8080", {"address": "h", "port": 80, "id": "x", "weight": 2, "zone": "b", "meta": {"a": 1}}]`,
		`[{"targets": ["10.0.0.1:80", "10.0.0.1:80"], "labels": {"weight": "3"}}]`,
		`{"orders": [1, null, {}], "stock": 1}`,
		"instances = ['10.0.0.1:80 weight=2']",
		"[[orders]]\naddress = '10.0.0.1:80'\n[[orders]]\nport = 1979-05-27",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, ext := range []string{".json", ".toml"} {
			u, err := parse(ext, data, "orders")
			again, errAgain := parse(ext, data, "orders")
			if !reflect.DeepEqual(said(u), said(again)) || fmt.Sprint(err) != fmt.Sprint(errAgain) {
				t.Fatalf("two readings: %+v %v, %+v %v", u, err, again, errAgain)
			}
			if err != nil && !reflect.DeepEqual(said(u), said(discovery.Update{})) || u.Unknown && len(u.Instances) > 0 {
				t.Fatalf("%+v, %v", u, err)
			}
			if len(u.Instances) == 0 && len(u.Problems) > 0 || len(u.Problems) > maxProblems+1 || !slices.IsSorted(u.Problems) {
				t.Fatalf("problems %q of %+v", u.Problems, u.Instances)
			}
			addresses := map[string]bool{}
			for _, i := range u.Instances {
				if i.ID == "" || i.Weight < 1 || i.Weight > maxWeight || addresses[i.Address] {
					t.Fatalf("instance %+v", i)
				}
				addresses[i.Address] = true
				if _, err := parseAddress(i.Address); err != nil {
					t.Fatalf("instance %+v: %v", i, err)
				}
			}
			if !discovery.Equal(u.Instances, discovery.Canonical(slices.Clone(u.Instances))) {
				t.Fatalf("not canonical: %+v", u.Instances)
			}
		}
	})
}
