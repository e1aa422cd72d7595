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
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.registries[provider]
	switch {
	case m == nil:
		return fmt.Errorf("setting the form of pages: the simulator serves no provider %q", provider)
	case form != PagePlain && form != PageHAL:
		return fmt.Errorf("setting the form of pages: %q is neither %s nor %s", form, PagePlain, PageHAL)
	}
	m.api.plainPages = form == PagePlain
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

// pageNumber is which page of a list is asked for, and of how many items.
type pageNumber struct{ number, size int }

func (r *queryReader) page() pageNumber {
	return pageNumber{r.number("page", 1, 1<<31-1), r.number("pageSize", 25, 100)}
}

// pageOf makes the page of a list of which all items are at hand, and shows those of the page.
// Its links keep the filters of the request; beside HAL, the one to the next page is also in
// a Link header (RFC 8288).
func pageOf[T, V any](c *call, p pageNumber, all []T, view func(T) V) any {
	query := c.r.URL.Query()
	at := func(page int) link {
		query.Set("page", strconv.Itoa(page))
		query.Set("pageSize", strconv.Itoa(p.size))
		return link{c.base() + c.below + "?" + query.Encode()}
	}
	from := min((p.number-1)*p.size, len(all))
	items := []V{}
	for _, one := range all[from:min(from+p.size, len(all))] {
		items = append(items, view(one))
	}
	last := max(1, (len(all)+p.size-1)/p.size)
	l := links{"self": at(p.number), "first": at(1), "last": at(last)}
	if p.number > 1 {
		l["prev"] = at(min(p.number-1, last))
	}
	if p.number < last {
		l["next"] = at(p.number + 1)
	}
	if c.plainPages {
		return plainPage[V]{l["self"].Href, items, p.number, p.size, len(all), l["first"].Href, l["prev"].Href,
			l["next"].Href, l["last"].Href}
	}
	if next, more := l["next"]; more { // the guide advises against the header
		c.w.Header().Set("Link", "<"+next.Href+`>; rel="next"`)
	}
	return halPage[V]{items, len(all), l}
}

// sendPage serves a list page by page.
func sendPage[T, V any](c *call, all []T, view func(T) V) response {
	r := queryReader{query: c.r.URL.Query()}
	p := r.page()
	if refusal := c.refuseQuery(&r); refusal != nil {
		return refusal
	}
	return c.send(http.StatusOK, pageOf(c, p, all, view))
}

// asIs shows an item as it is.
func asIs[T any](item T) T { return item }
