package simulator

import (
	"fmt"
	"net/http"
	"strconv"
)

// PageForm is how a provider writes the pages of its lists.
type PageForm string

// The forms of a page. Which one the version 3 registries use is not public.
const (
	// PagePlain is that of the Belgif REST guide: total, page and pageSize, and the links
	// self, first, prev, next and last as plain strings. Version 3 begins with it.
	PagePlain PageForm = "plain"
	// PageHAL has totalItems and the links in _links, each an object with href. Version
	// 2 begins with it.
	PageHAL PageForm = "hal"
)

// SetPageForm changes how a provider writes pages from now on.
func (s *Simulator) SetPageForm(provider string, form PageForm) error {
	m := s.directory.registry(provider)
	switch {
	case m == nil:
		return fmt.Errorf("setting the form of pages: the simulator serves no provider %q", provider)
	case form != PagePlain && form != PageHAL:
		return fmt.Errorf("setting the form of pages: %q is neither %s nor %s", form, PagePlain, PageHAL)
	}
	m.api.plainPages.Store(form == PagePlain)
	return nil
}

// plainPage and halPage are one page of a list, in the two forms.
type plainPage[T any] struct {
	Self     string `json:"self,omitempty"`
	Items    []T    `json:"items"`
	Page     int    `json:"page,omitempty"` // 0 for a list that has no pages, as PageSize
	PageSize int    `json:"pageSize,omitempty"`
	Total    int    `json:"total"`
	First    string `json:"first,omitempty"`
	Prev     string `json:"prev,omitempty"`
	Next     string `json:"next,omitempty"`
	Last     string `json:"last,omitempty"`
}

type halPage[T any] struct {
	Items []T   `json:"items"`
	Total int   `json:"totalItems"`
	Links links `json:"_links,omitempty"`
}

// wholeList is a list that has no pages, in the form of the API that gives it.
func wholeList[T any](plain bool, items []T) any {
	if plain {
		return plainPage[T]{Items: items, Total: len(items)}
	}
	return halPage[T]{Items: items, Total: len(items)}
}

// newPage makes a page of some of total items. Its links keep the filters of the
// request; beside HAL, the one to the next page is also in a Link header (RFC 8288).
func newPage[T any](c *call, items []T, page, pageSize, total int) any {
	query := c.r.URL.Query()
	at := func(page int) link {
		query.Set("page", strconv.Itoa(page))
		query.Set("pageSize", strconv.Itoa(pageSize))
		return link{c.base() + c.below + "?" + query.Encode()}
	}
	last := max(1, (total+pageSize-1)/pageSize)
	l := links{"self": at(page), "first": at(1), "last": at(last)}
	if page > 1 {
		l["prev"] = at(min(page-1, last))
	}
	if page < last {
		l["next"] = at(page + 1)
		if !c.plainPages.Load() { // the guide advises against the header
			c.w.Header().Set("Link", "<"+l["next"].Href+`>; rel="next"`)
		}
	}
	if !c.plainPages.Load() {
		return halPage[T]{items, total, l}
	}
	return plainPage[T]{
		l["self"].Href, items, page, pageSize, total, l["first"].Href, l["prev"].Href, l["next"].Href, l["last"].Href,
	}
}

// sendPage serves a list of which all items are at hand, page by page.
func sendPage[T any](c *call, all []T) {
	r := queryReader{query: c.r.URL.Query()}
	page, size := r.number("page", 1, 1<<31-1), r.number("pageSize", 25, 100)
	if c.refuseQuery(&r) {
		return
	}
	from := min((page-1)*size, len(all))
	c.send(http.StatusOK, newPage(c, all[from:min(from+size, len(all))], page, size, len(all)))
}
